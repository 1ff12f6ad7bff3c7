//! The guard against copies: an epoch in the database, its mirror outside the vault's folder, and quarantine where they disagree.
//!
//! The epoch moves in every transaction after which a refresh token may be used up or has come in. It is mirrored after the
//! commit, so that the mirror is never ahead of the database, unless the database was put back.

use super::fault::{Fault, database};
use crate::GuardState;
use crate::StoreError;
use crate::home::{VaultHome, file_create, file_open, folder_ensure, folder_sync};
use claviger_domain::time::Timestamp;
use claviger_runtime::best_effort;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Which instance of a vault this is, and how far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// New with every restore.
    pub(super) instance: [u8; 16],
    /// How many times a refresh token may have been used up or has come in.
    pub(super) epoch: u64,
}

impl Mark {
    /// The mark of a vault; `None` where its row is gone or unreadable.
    pub(super) fn read(connection: &Connection) -> Result<Option<Self>, Fault> {
        let mut statement = connection.prepare_cached("SELECT instance, epoch FROM guard WHERE id = 1")?;
        let row = statement.query_row([], |row| Ok((row.get::<_, [u8; 16]>(0).ok(), row.get::<_, i64>(1).ok()))).optional()?;
        let (instance, epoch) = row.unwrap_or_default();
        Ok(instance.zip(epoch.and_then(|epoch| u64::try_from(epoch).ok())).map(|(instance, epoch)| Self { instance, epoch }))
    }

    /// Makes this the mark of the vault.
    pub(super) fn write(self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        let upsert = "INSERT INTO guard (id, instance, epoch) VALUES (1, ?1, ?2) \
                      ON CONFLICT (id) DO UPDATE SET instance = excluded.instance, epoch = excluded.epoch";
        transaction.prepare_cached(upsert)?.execute((self.instance, self.epoch.cast_signed()))?;
        Ok(())
    }

    fn text(self) -> String {
        format!("{MIRROR_FORMAT} {:032x} {}\n", u128::from_be_bytes(self.instance), self.epoch)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.strip_prefix(MIRROR_FORMAT)?.strip_prefix(' ')?.split(' ');
        let (instance, epoch) = (u128::from_str_radix(words.next()?, 16).ok()?.to_be_bytes(), words.next()?.parse().ok()?);
        let mark = Self { instance, epoch };
        // Only what was written is read: no other spelling of a number.
        (mark.text() == text).then_some(mark)
    }
}

/// Moves the epoch by one, in the transaction after which a refresh token may be used up, or has come in.
pub(super) fn advance(transaction: &Transaction<'_>) -> Result<(), Fault> {
    transaction.prepare_cached("UPDATE guard SET epoch = epoch + 1 WHERE id = 1")?.execute([])?;
    Ok(())
}

/// Quarantines every login that is refreshed here; one that is in quarantine keeps its day. Answers how many there are then.
pub(super) fn quarantine(transaction: &Transaction<'_>, now: Timestamp) -> Result<usize, Fault> {
    let update = "UPDATE grants SET quarantined_at = coalesce(quarantined_at, ?1) \
                  WHERE refresh_token IS NOT NULL AND followed_path IS NULL";
    Ok(transaction.prepare_cached(update)?.execute([now.0])?)
}

/// The first word of a mirror: what it is and how it is written.
const MIRROR_FORMAT: &str = "claviger-epoch-1";
/// More than the longest mirror: the format, 32 digits, 20 digits.
const MIRROR_MAX_BYTES: u64 = 256;

/// The mirror of a vault's epoch: one file in a folder that is not copied with the vault.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    folder: PathBuf,
    path: PathBuf,
}

/// What a mirror says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is none, or none that can be read as one.
    Absent,
    /// It cannot be reached.
    Unusable,
    /// This.
    Mark(Mark),
}

impl Mirror {
    /// The mirror of a vault in a folder, which is made where it is missing.
    ///
    /// Errors: [`StoreError::Unsafe`] for a folder inside the vault's, which would be copied with it. A folder that cannot be
    /// made, or that is open to others, gives a mirror that is [`Seen::Unusable`].
    pub(super) fn at(mirrors: &Path, home: &VaultHome, vault_id: [u8; 16]) -> Result<Self, StoreError> {
        let usable = folder_ensure(mirrors);
        let folder = mirrors.canonicalize().unwrap_or_else(|_missing| mirrors.to_owned());
        if folder.starts_with(home.folder()) {
            let why = "is inside the folder of the vault, and would be copied with it: name another one for the mirror".to_owned();
            return Err(StoreError::Unsafe { path: mirrors.to_owned(), why });
        }
        best_effort("reach the folder of the vault's mirror", usable);
        let path = folder.join(format!("{:032x}.epoch", u128::from_be_bytes(vault_id)));
        Ok(Self { folder, path })
    }

    /// Reads it. What is no mirror is as good as none: it is written anew.
    pub(super) fn read(&self) -> Seen {
        let read = || -> Result<Option<Mark>, StoreError> {
            let folder = folder_ensure(&self.folder);
            let mut text = String::new();
            folder.and_then(|()| file_open(&self.path))?.take(MIRROR_MAX_BYTES).read_to_string(&mut text).or_else(|error| {
                if error.kind() == std::io::ErrorKind::InvalidData {
                    Ok(0)
                } else {
                    Err(StoreError::io("reading the mirror", &self.path)(error))
                }
            })?;
            Ok(Mark::from_text(&text))
        };
        match read() {
            Ok(mark) => mark.map_or(Seen::Absent, Seen::Mark),
            Err(StoreError::Absent { .. }) => Seen::Absent,
            Err(error) => {
                tracing::warn!(%error, "the mirror of the vault cannot be read: a copy of the vault would not be noticed");
                Seen::Unusable
            }
        }
    }

    /// Raises it to a mark that is committed. One that is as far already, or that is of another instance, is left alone.
    pub(super) fn raise(&self, mark: Mark) -> Result<(), StoreError> {
        match self.read() {
            Seen::Mark(seen) if seen.instance != mark.instance || seen.epoch >= mark.epoch => Ok(()),
            // Its folder is not synced: a power cut may bring the mirror before it back, which says less and nothing wrong.
            Seen::Absent | Seen::Unusable | Seen::Mark(_) => self.put(mark),
        }
    }

    /// Writes it, whatever it said, and syncs it.
    pub(super) fn write(&self, mark: Mark) -> Result<(), StoreError> {
        self.put(mark)?;
        folder_sync(&self.folder)
    }

    /// Puts a whole new file into its place: a reader sees the old one or the new one.
    fn put(&self, mark: Mark) -> Result<(), StoreError> {
        let new = self.path.with_extension(format!("epoch-new-{:016x}", claviger_runtime::random_u64()));
        let doing = "writing the mirror";
        let written = file_create(&new).and_then(|mut file| {
            file.write_all(mark.text().as_bytes()).and_then(|()| file.sync_data()).map_err(StoreError::io(doing, &new))?;
            std::fs::rename(&new, &self.path).map_err(StoreError::io(doing, &self.path))
        });
        if written.is_err() {
            // It may not even be there.
            drop(std::fs::remove_file(&new));
        }
        written
    }
}

/// Compares a vault with its mirror. A vault whose own mark is gone was tampered with, and counts as another instance.
fn judge(own: Option<Mark>, seen: Seen) -> GuardState {
    match (own, seen) {
        (None, _) => GuardState::OtherInstance,
        (Some(_), Seen::Unusable) => GuardState::MirrorUnusable,
        // Nothing was ever mirrored, so that nothing is missed.
        (Some(Mark { epoch: 0, .. }), Seen::Absent) => GuardState::Current,
        (Some(_), Seen::Absent) => GuardState::MirrorAbsent,
        (Some(own), Seen::Mark(seen)) if own.instance != seen.instance => GuardState::OtherInstance,
        (Some(own), Seen::Mark(seen)) if own.epoch < seen.epoch => GuardState::Behind { epoch: own.epoch, mirror: seen.epoch },
        (Some(_), Seen::Mark(_)) => GuardState::Current,
    }
}

/// Compares a vault that is being opened with its mirror, and quarantines its logins where it was put back.
pub(super) fn watch(connection: &mut Connection, mirror: &Mirror, now: Timestamp) -> Result<GuardState, StoreError> {
    let doing = "looking for copies of the vault";
    // Before the database: what other processes commit meanwhile must not make it look as if it were behind.
    let seen = mirror.read();
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(database(doing))? {
        // Nothing can be noted, and nothing that cannot be journalled is refreshed.
        return Mark::read(connection).map(|own| judge(own, seen)).map_err(|fault| fault.while_doing(doing));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database(doing))?;
    let own = Mark::read(&transaction).map_err(|fault| fault.while_doing(doing))?;
    let state = judge(own, seen);
    let mark = match (state, own) {
        (GuardState::Behind { mirror, .. }, Some(own)) => Mark { epoch: mirror + 1, ..own },
        (GuardState::OtherInstance, _) | (_, None) => Mark::after(own, seen),
        (_, Some(own)) => own,
    };
    if own == Some(mark) {
        drop(transaction);
        if state == GuardState::MirrorAbsent {
            tracing::warn!("the mirror of the vault's epoch is gone: a copy would not have been noticed; it is written anew");
        }
        let raised = best_effort("write the mirror of the vault", mirror.raise(mark));
        return Ok(if raised.is_some() { state } else { GuardState::MirrorUnusable });
    }
    let quarantined = mark.write(&transaction).and_then(|()| quarantine(&transaction, now)).map_err(|fault| fault.while_doing(doing))?;
    transaction.commit().map_err(database(doing))?;
    tracing::error!(grants = quarantined, state = ?state, "the vault was put back or copied: its logins are not refreshed until they are taken");
    best_effort("write the mirror of the vault", mirror.write(mark));
    Ok(state)
}

impl Mark {
    /// The mark of a new instance that is past everything that was seen.
    pub(super) fn after(own: Option<Self>, seen: Seen) -> Self {
        let mirrored = if let Seen::Mark(mark) = seen { mark.epoch } else { 0 };
        let epoch = own.map_or(0, |own| own.epoch).max(mirrored) + 1;
        Self { instance: claviger_runtime::random_bytes(), epoch }
    }
}

/// The id of a vault, by which its mirror is named.
pub(super) fn vault_id(connection: &Connection) -> Result<[u8; 16], Fault> {
    Ok(connection.query_row("SELECT vault_id FROM meta WHERE id = 1", [], |row| row.get(0))?)
}

/// Mirrors the epoch as it is committed.
pub(super) fn mirror(connection: &Connection, mirror: &Mirror) -> Result<(), Fault> {
    if let Some(mark) = Mark::read(connection)? {
        mirror.raise(mark)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mark = Mark { instance: [7; 16], epoch: 5 };

    #[test]
    fn only_a_mirror_that_is_ahead_or_of_another_instance_says_that_the_vault_is_a_copy() {
        let table = [
            (Some(OWN), Seen::Mark(OWN), GuardState::Current),
            (Some(OWN), Seen::Mark(Mark { epoch: 4, ..OWN }), GuardState::Current),
            (Some(OWN), Seen::Mark(Mark { epoch: 6, ..OWN }), GuardState::Behind { epoch: 5, mirror: 6 }),
            (Some(OWN), Seen::Mark(Mark { instance: [8; 16], ..OWN }), GuardState::OtherInstance),
            (Some(OWN), Seen::Mark(Mark { instance: [8; 16], epoch: 1 }), GuardState::OtherInstance),
            (Some(OWN), Seen::Absent, GuardState::MirrorAbsent),
            (Some(Mark { epoch: 0, ..OWN }), Seen::Absent, GuardState::Current),
            (Some(OWN), Seen::Unusable, GuardState::MirrorUnusable),
            (None, Seen::Absent, GuardState::OtherInstance),
            (None, Seen::Mark(OWN), GuardState::OtherInstance),
        ];
        for (own, seen, expected) in table {
            assert_eq!(judge(own, seen), expected, "{own:?} {seen:?}");
        }
    }

    #[test]
    fn a_mirror_reads_back_what_was_written_and_nothing_else() {
        assert_eq!(Mark::from_text(&OWN.text()), Some(OWN));
        let text = OWN.text();
        for bad in ["", "\n", text.trim_end(), &text.replace("epoch-1", "epoch-2"), &text.replace(" 5", " 05"), &text.replace(" 5", " -5")]
        {
            assert_eq!(Mark::from_text(bad), None, "{bad:?}");
        }
    }
}
