//! Files that a loss of power or a bad disk has torn: the vault opens as some committed state, or says what is wrong.

use crate::{FIRST, Site, answer, oauth, place, text, texts};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision, InstanceId};
use claviger_store::{GrantCommit, GrantSecret, IntentRow, SqliteStore, Store, StoreError};
use claviger_testkit::proof_row;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Refreshes that stand in the WAL.
const COMMITS: u64 = 5;

/// A vault as it lies on disk while it is open, with its login refreshed many times and the last answer in its slot.
struct Torn {
    site: Site,
    database: Vec<u8>,
    wal: Vec<u8>,
    grant: GrantId,
}

fn attempt(revision: u64) -> AttemptId {
    AttemptId(u128::from(revision) + 0x1000)
}

impl Torn {
    async fn new() -> Self {
        let site = Site::new();
        let store = site.create();
        let grant = place(&store, "a@x.example", oauth()).await.grant;
        store.close().await.unwrap();
        let store = site.open();
        for revision in 1..=COMMITS {
            let (from, attempt) = (GrantRevision(revision), attempt(revision));
            let fingerprint = store.grant_load(grant).await.unwrap().unwrap().fingerprint;
            let attempts = vec![attempt];
            let intent = IntentRow { from, fingerprint, attempts, instance: InstanceId(1), opened_at: crate::NOW };
            store.spill_create(grant, from, attempt).await.unwrap();
            store.intent_open(grant, from, intent).await.unwrap();
            store.spill_write(grant, from, attempt, answer(format!("answer-{revision}").as_bytes())).await.unwrap();
            if revision < COMMITS {
                let secret = GrantSecret::OAuth {
                    access: text(&format!("at-{}", revision + 1)),
                    refresh: Some(text(&format!("rt-{}", revision + 1))),
                };
                let commit = GrantCommit { grant, from, secret, expires_at: None, issued_at: crate::NOW, attempt: Some(attempt) };
                store.grant_commit(commit).await.unwrap();
                store.spill_remove(attempt).await.unwrap();
            }
        }
        let database = std::fs::read(site.database()).unwrap();
        let wal = std::fs::read(wal_path(&site)).unwrap();
        assert!(wal.len() > 50_000, "the series stands in the WAL: {} bytes", wal.len());
        // Closed before anything is laid: the thread of a store that is dropped may still be at its files.
        close(store).await;
        Self { site, database, wal, grant }
    }

    /// Puts the files as if the process had died with this WAL.
    fn lay(&self, database: &[u8], wal: Option<&[u8]>) {
        for (path, content) in [(self.site.database(), Some(database)), (wal_path(&self.site), wal), (shm_path(&self.site), None)] {
            match content {
                Some(content) => {
                    std::fs::write(&path, content).unwrap();
                    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                }
                None => drop(std::fs::remove_file(&path)),
            }
        }
    }

    /// Opens what was laid; gives the revision of the login. Its secret is that of the revision, the file is sound.
    async fn state(&self, what: &str) -> u64 {
        let store = self.site.try_open().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new(), "{what}");
        let row = store.grant_load(self.grant).await.unwrap().unwrap_or_else(|| panic!("{what}: the login is gone"));
        let revision = row.revision.0;
        if revision > 1 {
            assert_eq!(texts(&row), (&*format!("at-{revision}"), Some(&*format!("rt-{revision}"))), "{what}");
        }
        let intent = row.intent.map(|intent| intent.from.0);
        assert!(intent.is_none_or(|from| from == revision), "{what}: an intent of revision {intent:?} beside {revision}");
        let spilled = store.spill_read(self.grant, GrantRevision(COMMITS), attempt(COMMITS)).await.unwrap();
        assert_eq!(spilled.unwrap_or_else(|| panic!("{what}: the slot is empty")).body.as_slice(), format!("answer-{COMMITS}").as_bytes());
        close(store).await;
        revision
    }
}

async fn close(store: SqliteStore) {
    store.close().await.unwrap();
}

fn beside(site: &Site, name: &str) -> PathBuf {
    site.home().join(name)
}

fn wal_path(site: &Site) -> PathBuf {
    beside(site, "vault.db-wal")
}

fn shm_path(site: &Site) -> PathBuf {
    beside(site, "vault.db-shm")
}

/// Numbers from a seed (xorshift).
fn chance(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 1).unwrap()
}

#[tokio::test]
async fn a_wal_that_is_cut_anywhere_opens_as_a_committed_state_and_never_a_newer_one_for_less() {
    let torn = Torn::new().await;
    let mut newest = 0;
    let mut cuts = 0;
    for end in (0..=torn.wal.len()).step_by(512).chain([torn.wal.len()]) {
        torn.lay(&torn.database, Some(&torn.wal[..end]));
        let revision = torn.state(&format!("cut at {end}")).await;
        assert!(revision >= newest, "cut at {end}: revision {revision} after {newest} with less");
        (newest, cuts) = (revision, cuts + 1);
    }
    assert_eq!(newest, COMMITS, "the whole WAL holds the whole series");
    proof_row("damage: the write-ahead log cut at every 512 bytes", cuts, cuts, "0 states that were never committed");
}

#[tokio::test]
async fn a_byte_that_is_flipped_in_the_wal_costs_at_most_what_came_after_it() {
    let torn = Torn::new().await;
    let mut seed = 0x00C0_FFEE;
    let flips = 200;
    let mut whole = 0;
    for _ in 0..flips {
        let at = chance(&mut seed) % torn.wal.len();
        let mut wal = torn.wal.clone();
        wal[at] ^= 1 << (chance(&mut seed) % 8);
        torn.lay(&torn.database, Some(&wal));
        let revision = torn.state(&format!("flip at {at}")).await;
        assert!(revision <= COMMITS);
        whole += u64::from(revision == COMMITS);
    }
    assert!(whole < flips, "some flips cost something: the series would notice");
    proof_row("damage: the write-ahead log with a flipped bit", flips, flips, "0 wrong plaintexts, integrity clean");
}

#[tokio::test]
async fn a_missing_wal_or_shared_memory_costs_no_more_than_what_stood_there() {
    let torn = Torn::new().await;
    let shared = vec![0xA5; 32 * 1024];
    torn.lay(&torn.database, Some(&torn.wal));
    assert_eq!(torn.state("no shared memory").await, COMMITS);
    torn.lay(&torn.database, Some(&torn.wal));
    std::fs::write(shm_path(&torn.site), &shared).unwrap();
    std::fs::set_permissions(shm_path(&torn.site), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(torn.state("rubbish as shared memory").await, COMMITS);
    torn.lay(&torn.database, None);
    std::fs::write(shm_path(&torn.site), &shared).unwrap();
    std::fs::set_permissions(shm_path(&torn.site), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(torn.state("no WAL").await, 1, "what was checkpointed is there");
    proof_row("damage: the write-ahead log or shared memory missing or rubbish", 3, 3, "0 lost beyond the missing file");
}

/// What came of a vault whose file is not whole.
async fn outcome(site: &Site, grant: GrantId, what: &str) -> &'static str {
    let store = match site.try_open() {
        Ok(store) => store,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !matches!(error, StoreError::Injected(_)), "{what}: {error:?}");
            return "refused";
        }
    };
    let sound = store.integrity_check().await.is_ok_and(|lines| lines.is_empty());
    let read = store.grant_load(grant).await;
    drop(store.close().await);
    if let Ok(Some(row)) = &read {
        let revision = row.revision.0;
        let (access, _) = texts(row);
        assert!(access == format!("at-{revision}") || access == crate::CANARIES[0], "{what}: a wrong plaintext");
    }
    match read {
        Ok(Some(_)) if sound => "whole",
        Ok(Some(_)) => "served, damage told",
        Ok(None) => {
            assert!(!sound, "{what}: the login is gone and nothing says why");
            "lost, damage told"
        }
        Err(_) => "row refused",
    }
}

#[tokio::test]
async fn a_vault_that_is_cut_short_is_refused_or_told_and_never_misread() {
    let site = Site::new();
    let store = site.create();
    let grant = place(&store, "a@x.example", oauth()).await.grant;
    store.close().await.unwrap();
    let whole = std::fs::read(site.database()).unwrap();
    let lengths = (0..whole.len()).step_by(512).chain([1, 99, 100, 101, whole.len() - 1]);
    let mut runs = 0;
    for length in lengths {
        lay_file(&site.database(), &whole[..length]);
        let came = outcome(&site, grant, &format!("cut to {length}")).await;
        // The last page may be empty at its end, which is then no loss.
        assert!(came != "whole" || length + 4096 > whole.len(), "cut to {length}");
        runs += 1;
    }
    lay_file(&site.database(), &whole);
    assert_eq!(outcome(&site, grant, "whole").await, "whole");
    proof_row("damage: the vault's file cut at every 512 bytes", runs, runs, "0 wrong plaintexts, 0 panics, each told");
}

fn lay_file(path: &Path, content: &[u8]) {
    for other in ["-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{other}", path.display())));
    }
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn an_answer_outlives_a_wal_that_was_lost_behind_its_intent() {
    let torn = Torn::new().await;
    torn.lay(&torn.database, Some(&[]));
    let store = torn.site.open();
    assert_eq!(store.grant_load(torn.grant).await.unwrap().unwrap().revision, FIRST);
    assert_eq!(store.spill_list().await.unwrap(), [attempt(COMMITS)], "kept for the doctor, whatever the database has forgotten");
}
