//! The seal of a vault as its owner sees it: what it is, how it is changed, and how its data keys are replaced.

use super::fault::Fault;
use super::header::Header;
use super::{SqliteStore, header, rotate};
use crate::root_key::{KdfCost, RootKey, RootSecret};
use crate::{Answer, RowFault, SealInfo};
use claviger_domain::time::Timestamp;
use rusqlite::Connection;

/// The seal of a vault and its data keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatus {
    /// What the vault is sealed with.
    pub info: SealInfo,
    /// What a guess at the passphrase costs; `None` where there is none to guess.
    pub cost: Option<KdfCost>,
    /// When the vault was created.
    pub created_at: Timestamp,
    /// When the seal was last changed; `None` for the seal of the first day.
    pub changed_at: Option<Timestamp>,
    /// Whether a recovery kit opens the vault.
    pub kit: KitState,
    /// The data keys, oldest first.
    pub data_keys: Vec<DataKeyUse>,
    /// Whether a rotation was begun and not ended; [`SqliteStore::data_key_rotate`] goes on with it.
    pub rotation_unfinished: bool,
}

/// Whether a recovery kit opens the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KitState {
    /// None was ever made.
    Missing,
    /// The one of this time opens it.
    Current {
        /// When it was made.
        made_at: Timestamp,
    },
    /// The seal was changed since: the one of this time opens nothing any more.
    Outdated {
        /// When it was made.
        made_at: Timestamp,
    },
}

/// A data key, and what needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyUse {
    /// Its version.
    pub version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many fields of the database are sealed with it.
    pub fields: u32,
    /// How many answers in spill slots are sealed with it.
    pub slots: u32,
    /// How many open refreshes may still spill an answer under it.
    pub refreshes: u32,
}

impl DataKeyUse {
    /// Whether anything needs it.
    pub fn is_needed(&self) -> bool {
        self.fields > 0 || self.slots > 0 || self.refreshes > 0
    }
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The version that seals now.
    pub version: u32,
    /// Whether a rotation that had been begun before was ended.
    pub resumed: bool,
    /// How many fields were sealed anew.
    pub resealed: u64,
    /// The older versions that nothing needed any more; they are gone.
    pub retired: Vec<u32>,
    /// The older versions that stay, and what needs them.
    pub kept: Vec<DataKeyUse>,
    /// Fields that do not open, and were left as they are.
    pub unopened: Vec<RowFault>,
}

impl SqliteStore {
    /// The seal and the data keys.
    pub fn seal_status(&self) -> Answer<'_, SealStatus> {
        let spill = self.spill.clone();
        self.writer.read("looking at the seal", move |connection, _| {
            let header = Header::read(connection)?;
            let data_keys = rotate::uses(connection, &spill)?;
            let (created_at, changed_at, kit) = history(connection)?;
            Ok(SealStatus {
                cost: header.guess_cost(),
                info: header.info(),
                created_at,
                changed_at,
                kit,
                data_keys,
                rotation_unfinished: rotate::newest(connection)?.is_unfinished,
            })
        })
    }

    /// Adds a data key, seals every field anew under it, and drops the older ones that nothing needs any more; a rotation
    /// that was begun before and not ended goes on instead. Other processes adopt the new key with their next job.
    ///
    /// Fields are sealed in small transactions of their own, so that other work goes on between them. No revision moves:
    /// leases stay valid. An older key stays while a field that does not open, an answer in a spill slot or an open refresh
    /// refers to it. Cancel safety: ended anywhere, the vault is whole, and the next call goes on.
    ///
    /// Errors: [`crate::StoreError::SealChanged`] where another process changed the seal since this one opened the vault;
    /// [`crate::StoreError::OlderSealInUse`] while another process has it open since before its seal was changed.
    pub fn data_key_rotate(&self, now: Timestamp) -> Answer<'_, Rotated> {
        Box::pin(async move {
            let begun = self.writer.rekey("adding a data key", move |transaction, keys| rotate::begin(transaction, keys, now)).await?;
            let mut done = rotate::Batch::default();
            for table in [rotate::grants, rotate::proxies] {
                let mut after = None;
                loop {
                    let batch =
                        self.writer.write("sealing rows anew", move |transaction, keyring| table(transaction, keyring, after)).await?;
                    done.add(&batch);
                    let Some(last) = batch.last else { break };
                    after = Some(last);
                }
            }
            done.add(&self.writer.write("sealing keys anew", rotate::hash_keys).await?);
            let spill = self.spill.clone();
            let (retired, kept) = self
                .writer
                .write("retiring data keys", move |transaction, _| rotate::retire(transaction, &spill, (begun.version, now)))
                .await?;
            // Adopts what was retired, so that the keys leave this process too.
            self.writer.read("dropping retired data keys", |_, _| Ok(())).await?;
            let rotate::Batch { last: _, resealed, unopened } = done;
            Ok(Rotated { version: begun.version, resumed: begun.is_unfinished, resealed, retired, kept, unopened })
        })
    }

    /// Seals the vault with another root key, or with another kind of one. `cost` counts for a passphrase only.
    ///
    /// One transaction: the vault opens with exactly one of the two keys, whenever this is interrupted. The data keys stay
    /// what they are; a copy of the vault that was made before opens with the old key. Processes that have the vault open
    /// go on with the keys that they have until a new data key comes. Blocks the caller while a passphrase is stretched.
    ///
    /// Errors: [`crate::StoreError::KitSealsNothing`]; [`crate::StoreError::SealChanged`] where another process did so first; for a key
    /// file those of opening it.
    pub fn rewrap(&self, new: &RootKey, cost: KdfCost, now: Timestamp) -> Answer<'_, ()> {
        let made = header::NewSeal::make(new, cost, &self.home);
        Box::pin(async move {
            let made = made?;
            let doing = "changing the seal";
            self.writer.rewrap(doing, move |transaction, keys| header::rewrap(transaction, keys, made, now)).await
        })
    }

    /// What a recovery kit holds: which vault it is for, and the key that unwraps its data keys. It opens the vault as
    /// [`RootKey::Kit`] whatever the vault is sealed with, and is worth nothing after [`SqliteStore::rewrap`].
    pub fn recovery_secret(&self) -> Answer<'_, ([u8; 16], RootSecret)> {
        self.writer.read_keys("reading the seal", |connection, keys| {
            let header = Header::read_sealed_with(connection, keys.home(), keys.seal())?;
            Ok((header.vault_id, keys.seal().to_kit()))
        })
    }

    /// Remembers that a recovery kit was made from [`SqliteStore::recovery_secret`].
    ///
    /// Errors: [`crate::StoreError::SealChanged`] where the seal was changed since, so that the kit opens nothing.
    pub fn kit_made(&self, now: Timestamp) -> Answer<'_, ()> {
        self.writer.rekey("remembering the kit", move |transaction, keys| {
            Header::read_sealed_with(transaction, keys.home(), keys.seal())?;
            transaction.execute("UPDATE meta SET kit_made_at = ?1, kit_outdated = 0 WHERE id = 1", [now.0])?;
            Ok(())
        })
    }
}

/// When the vault and its seal came about, and the state of its kit.
fn history(connection: &Connection) -> Result<(Timestamp, Option<Timestamp>, KitState), Fault> {
    let select = "SELECT created_at, seal_changed_at, kit_made_at, kit_outdated FROM meta WHERE id = 1";
    Ok(connection.query_row(select, [], |row| {
        let kit = match (row.get::<_, Option<i64>>(2)?.map(Timestamp), row.get::<_, bool>(3)?) {
            (None, _) => KitState::Missing,
            (Some(made_at), false) => KitState::Current { made_at },
            (Some(made_at), true) => KitState::Outdated { made_at },
        };
        Ok((Timestamp(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(Timestamp), kit))
    })?)
}
