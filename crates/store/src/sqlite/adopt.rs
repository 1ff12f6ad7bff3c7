//! The keys of an open vault: a data key that another process added is adopted before the next job.

use super::fault::Fault;
use super::header::{self, Header};
use crate::StoreError;
use crate::home::VaultHome;
use crate::locks::{self, SealMark};
use crate::root_key::{RootKey, RootSeal};
use crate::seal::Keyring;
use arc_swap::ArcSwap;
use claviger_runtime::best_effort;
use rusqlite::Connection;
use std::fs::File;
use std::sync::Arc;

/// What opens and seals in a vault that is open.
pub(super) struct OpenKeys {
    home: VaultHome,
    seal: RootSeal,
    keyring: Arc<Keyring>,
    /// The same keyring, for those beside the thread.
    shared: Arc<ArcSwap<Keyring>>,
    /// What stood in the table when the keyring was read.
    seen: Standing,
    /// Says to other processes under which seal the vault is open here.
    held: Option<File>,
}

/// Which data keys there are: versions are added above all others and never changed, so that both numbers together tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    newest: Option<u32>,
    count: u32,
}

impl Standing {
    fn read(connection: &Connection) -> Result<Self, Fault> {
        let mut statement = connection.prepare_cached("SELECT max(version), count(*) FROM data_keys")?;
        Ok(statement.query_row([], |row| Ok(Self { newest: row.get(0)?, count: row.get(1)? }))?)
    }
}

impl OpenKeys {
    /// Opens the keys of a vault.
    pub(super) fn open(connection: &Connection, home: &VaultHome, root: &RootKey) -> Result<Self, Fault> {
        let seen = Standing::read(connection)?;
        let (seal, keyring) = header::open(connection, home, root)?;
        let keyring = Arc::new(keyring);
        Ok(Self { home: home.clone(), seal, shared: Arc::new(ArcSwap::new(Arc::clone(&keyring))), keyring, seen, held: None })
    }

    /// Says to other processes under which seal the vault is open here, so that none adds a data key that this one cannot open.
    ///
    /// Errors: [`StoreError::SealChanged`] where the seal was changed while the vault was being opened.
    pub(super) fn announce(&mut self, connection: &Connection) -> Result<(), Fault> {
        let mark = Header::read_sealed_with(connection, &self.home, &self.seal)?.mark();
        self.held = Some(locks::seal_shared(&self.home.locks(), mark)?);
        // Whoever changed it in between has not seen the file that was locked just now.
        Header::read_sealed_with(connection, &self.home, &self.seal).map(drop)
    }

    /// The keyring, for those beside the thread.
    pub(super) fn shared(&self) -> &Arc<ArcSwap<Keyring>> {
        &self.shared
    }

    /// The folder of the vault.
    pub(super) fn home(&self) -> &VaultHome {
        &self.home
    }

    /// The root key that the data keys are wrapped with, as far as this process knows.
    pub(super) fn seal(&self) -> &RootSeal {
        &self.seal
    }

    /// The keyring as the database has it now; read anew when data keys came or went.
    ///
    /// Errors: [`StoreError::SealChanged`] where the newest data key is wrapped with a root key that this process never had.
    pub(super) fn newest(&mut self, connection: &Connection) -> Result<&Keyring, Fault> {
        let found = Standing::read(connection)?;
        if found != self.seen {
            match header::reopen(connection, &self.home, &self.seal, &self.keyring) {
                Ok(keyring) => {
                    self.keyring = Arc::new(keyring);
                    self.shared.store(Arc::clone(&self.keyring));
                }
                // Older keys went and none came: those that are here open all that is left.
                Err(Fault::Store(StoreError::SealChanged { .. })) if found.newest == self.seen.newest => {}
                Err(fault) => return Err(fault),
            }
            self.seen = found;
        }
        Ok(&self.keyring)
    }

    /// Takes over the seal that this process has put on the vault.
    pub(super) fn adopt(&mut self, seal: RootSeal, mark: SealMark) {
        self.held = best_effort("say under which seal the vault is open", locks::seal_shared(&self.home.locks(), mark));
        self.seal = seal;
    }
}
