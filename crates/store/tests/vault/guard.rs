//! Copies of a vault: put back by hand, restored by us, and what is quarantined then.

use crate::{ATTEMPT, CANARIES, CHEAP, FIRST, GRANT, NOW, Site, answer, api_key, draft, explicit, oauth, place, text, texts};
use claviger_domain::credential::Custody;
use claviger_domain::id::{AccountId, AttemptId, GrantRevision, InstanceId};
use claviger_domain::origin::StoredOrigins;
use claviger_domain::time::Timestamp;
use claviger_store::{
    GrantCommit, GrantSecret, GuardState, IntentRow, Rebind, Restored, RootKey, RowFaultKind, SealKind, SqliteStore, Store, StoreError,
    Write, backup_seal_info, root_key_file_create, vault_restore,
};
use claviger_testkit::SimClock;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

impl Site {
    fn mirrors(&self) -> PathBuf {
        self.folder.path().join("state/claviger")
    }

    fn guarded(&self) -> SqliteStore {
        SqliteStore::open_guarded(&self.home(), &self.root(), &SimClock::new(), &self.mirrors()).unwrap()
    }

    fn restore(&self, backup: &Path) -> Result<Restored, StoreError> {
        vault_restore(&self.home(), backup, &self.root(), Some(&self.mirrors()), NOW)
    }

    /// The one mirror of this site.
    fn mirror(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.mirrors()).unwrap().map(|entry| entry.unwrap().path());
        let mirror = files.next().expect("there is a mirror");
        assert_eq!((mirror.extension().unwrap().to_str(), files.next()), (Some("epoch"), None), "one mirror and nothing beside it");
        mirror
    }

    fn epoch(&self) -> u64 {
        std::fs::read_to_string(self.mirror()).unwrap().trim_end().rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    /// What `cp` of a closed vault takes along.
    fn copy_by_hand(&self) -> Vec<u8> {
        std::fs::read(self.database()).unwrap()
    }

    fn put_back(&self, copy: &[u8]) {
        std::fs::write(self.database(), copy).unwrap();
    }
}

fn login(n: u32) -> GrantSecret {
    GrantSecret::OAuth { access: text(&format!("at-{n}")), refresh: Some(text(&format!("rt-{n}"))) }
}

async fn guard_of(store: &SqliteStore) -> GuardState {
    store.load().await.unwrap().guard
}

/// Accounts whose grant is in quarantine.
async fn quarantined(store: &SqliteStore) -> Vec<AccountId> {
    let vault = store.load().await.unwrap();
    let held = |grant| vault.grants.iter().any(|row| row.id == grant && row.quarantined.is_some());
    vault.accounts.iter().filter(|row| held(row.grant)).map(|row| row.id).collect()
}

/// A refresh of the first grant from a revision, as the pool does one.
async fn refresh(store: &SqliteStore, from: u64) {
    let (from, attempt) = (GrantRevision(from), AttemptId(u128::from(from)));
    let intent = IntentRow { from, fingerprint: store.fingerprint("x"), attempts: vec![attempt], instance: InstanceId(1), opened_at: NOW };
    assert_eq!(store.intent_open(GRANT, from, intent).await.unwrap(), Write::Done(()));
    let secret = GrantSecret::OAuth { access: text(&format!("at-r{}", from.0 + 1)), refresh: Some(text(&format!("rt-r{}", from.0 + 1))) };
    let commit = GrantCommit { grant: GRANT, from, secret, expires_at: None, issued_at: NOW, attempt: Some(attempt) };
    assert_eq!(store.grant_commit(commit).await.unwrap(), Write::Done(from.next()));
}

/// A vault with an own login (1), a key (2), a followed login (3) and a login without refresh token (4), in use under the guard.
async fn vault_of_every_kind(site: &Site) -> SqliteStore {
    site.create().close().await.unwrap();
    let store = site.guarded();
    assert_eq!(guard_of(&store).await, GuardState::Current, "a new vault has nothing to compare");
    place(&store, "a@x.example", oauth()).await;
    place(&store, "b@x.example", api_key()).await;
    let mut followed = draft("c@x.example", login(3));
    followed.grant.custody = Custody::Followed { path: "/x".into() };
    store.account_place(followed, NOW).await.unwrap();
    place(&store, "d@x.example", GrantSecret::OAuth { access: text("at-4"), refresh: None }).await;
    store
}

#[tokio::test]
async fn the_epoch_moves_with_every_write_that_bears_on_a_refresh_token_and_with_no_other() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    assert_eq!(site.epoch(), 4, "each login and key that came in");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&site.mirror()), mode(&site.mirrors())), (0o600, 0o700));
    refresh(&store, 1).await;
    assert_eq!(site.epoch(), 6, "the intent and the commit");
    place(&store, "a@x.example", GrantSecret::OAuth { access: text("at-r2"), refresh: Some(text("rt-r2")) }).await;
    store.account_patch(AccountId(1), claviger_domain::id::RowRevision::FIRST, claviger_store::AccountPatch::default(), NOW).await.unwrap();
    store.grant_rebind(GRANT, GrantRevision(2), StoredOrigins::Builtin).await.unwrap();
    store.load().await.unwrap();
    assert_eq!(site.epoch(), 6, "the same login again, a change by hand, a rebind, a read");
    let text = std::fs::read_to_string(site.mirror()).unwrap();
    assert!(!CANARIES.iter().any(|canary| text.contains(canary)));
    store.close().await.unwrap();
    let store = site.guarded();
    assert_eq!((guard_of(&store).await, quarantined(&store).await), (GuardState::Current, vec![]));
}

#[tokio::test]
async fn a_database_that_was_copied_back_by_hand_is_noticed_and_its_own_logins_are_quarantined() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    store.close().await.unwrap();
    let copy = site.copy_by_hand();
    let store = site.guarded();
    for from in 1..=3 {
        refresh(&store, from).await;
    }
    store.close().await.unwrap();
    assert_eq!(site.epoch(), 10);
    site.put_back(&copy);

    let store = site.guarded();
    assert_eq!(guard_of(&store).await, GuardState::Behind { epoch: 4, mirror: 10 });
    assert_eq!(quarantined(&store).await, [AccountId(1)], "neither the key nor the followed login, nor one that has no refresh token");
    let row = store.grant_load(GRANT).await.unwrap().unwrap();
    assert_eq!((texts(&row), row.quarantined), ((CANARIES[0], Some(CANARIES[1])), Some(NOW)));
    assert_eq!(site.epoch(), 11);
    store.close().await.unwrap();

    let store = site.guarded();
    assert_eq!(guard_of(&store).await, GuardState::Current, "what was found is found once");
    assert_eq!(quarantined(&store).await, [AccountId(1)], "a quarantine lasts");
    let later = place(&store, "e@x.example", login(5)).await;
    assert_eq!(quarantined(&store).await, [AccountId(1)], "a login that came in since is not in it");
    assert_eq!(store.grant_release(GRANT).await.unwrap(), Write::Done(()));
    assert_eq!(store.grant_release(GRANT).await.unwrap(), Write::Stale);
    assert_eq!(quarantined(&store).await, []);
    assert_eq!(store.grant_load(later.grant).await.unwrap().unwrap().revision, FIRST);
    store.close().await.unwrap();

    site.put_back(&copy);
    let store = site.guarded();
    assert!(matches!(guard_of(&store).await, GuardState::Behind { .. }), "the same copy again is noticed again");
    claviger_testkit::proof_row("quarantine: copies put back by hand are noticed", 2, 2, "0 refreshed");
}

#[tokio::test]
async fn a_new_login_ends_a_quarantine_and_the_same_login_again_does_not() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    store.close().await.unwrap();
    let copy = site.copy_by_hand();
    let store = site.guarded();
    refresh(&store, 1).await;
    store.close().await.unwrap();
    site.put_back(&copy);
    let store = site.guarded();
    place(&store, "a@x.example", oauth()).await;
    assert_eq!(quarantined(&store).await, [AccountId(1)], "this very token may have been used up");
    assert_eq!(store.grant_rebind(GRANT, FIRST, StoredOrigins::Builtin).await.unwrap(), Rebind::Done(GrantRevision(2)));
    assert_eq!(quarantined(&store).await, [AccountId(1)], "a rebind brings no new token");
    place(&store, "a@x.example", login(9)).await;
    assert_eq!(quarantined(&store).await, []);
}

#[tokio::test]
async fn a_mirror_that_is_lost_is_written_anew_and_quarantines_nothing() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    store.close().await.unwrap();
    for spoil in [|path: &Path| std::fs::remove_file(path).unwrap(), |path: &Path| std::fs::write(path, "claviger-epoch-1 ").unwrap()] {
        spoil(&site.mirror());
        let store = site.guarded();
        assert_eq!((guard_of(&store).await, quarantined(&store).await), (GuardState::MirrorAbsent, vec![]));
        assert_eq!(site.epoch(), 4);
        store.close().await.unwrap();
        let store = site.guarded();
        assert_eq!(guard_of(&store).await, GuardState::Current, "it is said once");
        store.close().await.unwrap();
    }
    // A whole home that is carried to another machine, without the mirror's folder, looks like this and is not noticed.
    std::fs::remove_dir_all(site.mirrors()).unwrap();
    assert_eq!(guard_of(&site.guarded()).await, GuardState::MirrorAbsent);
}

/// What is done to a mirror, by name.
type Spoiled = (&'static str, fn(&Site));

#[tokio::test]
async fn a_mirror_that_cannot_be_used_stops_nothing() {
    let setups: [Spoiled; 4] = [
        ("a folder open to others", |site| set_permissions(site.mirrors(), Permissions::from_mode(0o755)).unwrap()),
        ("a mirror open to others", |site| set_permissions(site.mirror(), Permissions::from_mode(0o644)).unwrap()),
        ("a mirror behind a link", |site| {
            let mirror = site.mirror();
            std::fs::rename(&mirror, site.folder.path().join("elsewhere")).unwrap();
            symlink(site.folder.path().join("elsewhere"), &mirror).unwrap();
        }),
        ("a file as folder", |site| {
            std::fs::remove_dir_all(site.mirrors()).unwrap();
            std::fs::write(site.mirrors(), "").unwrap();
        }),
    ];
    for (what, spoil) in setups {
        let site = Site::new();
        let store = vault_of_every_kind(&site).await;
        store.close().await.unwrap();
        spoil(&site);
        let store = site.guarded();
        assert_eq!(guard_of(&store).await, GuardState::MirrorUnusable, "{what}");
        refresh(&store, 1).await;
        assert_eq!(quarantined(&store).await, [], "{what}");
    }
}

#[tokio::test]
async fn a_mirror_inside_the_vaults_folder_is_refused() {
    let site = Site::new();
    site.create().close().await.unwrap();
    let link = site.folder.path().join("link");
    symlink(site.home(), &link).unwrap();
    for inside in [site.home(), site.home().join("state"), link.join("state")] {
        let opened = SqliteStore::open_guarded(&site.home(), &site.root(), &SimClock::new(), &inside);
        assert!(matches!(opened, Err(StoreError::Unsafe { .. })), "{inside:?}");
    }
}

#[tokio::test]
async fn a_guard_row_that_was_taken_away_counts_as_another_instance() {
    for edit in [
        "DELETE FROM guard",
        "UPDATE guard SET instance = x'00'",
        "UPDATE guard SET epoch = -1",
        "UPDATE guard SET instance = zeroblob(16)",
    ] {
        let site = Site::new();
        let store = vault_of_every_kind(&site).await;
        store.close().await.unwrap();
        site.sql(edit);
        let store = site.guarded();
        assert_eq!((guard_of(&store).await, quarantined(&store).await), (GuardState::OtherInstance, vec![AccountId(1)]), "{edit}");
        store.close().await.unwrap();
        assert_eq!(guard_of(&site.guarded()).await, GuardState::Current, "{edit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_come_and_go_while_others_refresh_are_never_taken_for_copies() {
    let site = std::sync::Arc::new(Site::new());
    let store = vault_of_every_kind(&site).await;
    let opener = {
        let site = std::sync::Arc::clone(&site);
        tokio::task::spawn_blocking(move || {
            (0..40).all(|_| {
                let store = site.guarded();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async { guard_of(&store).await == GuardState::Current && quarantined(&store).await.is_empty() })
            })
        })
    };
    for from in 1..=40 {
        refresh(&store, from).await;
    }
    assert!(opener.await.unwrap());
    assert_eq!(site.epoch(), 84);
}

#[tokio::test]
async fn a_backup_is_whole_closed_to_others_and_made_while_the_vault_is_in_use() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let file = site.folder.path().join("copy.db");
    let made = store.backup(&file).await.unwrap();
    assert_eq!(made.size_bytes, std::fs::metadata(&file).unwrap().len());
    assert!(!made.folder_is_writable);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(store.backup(&file).await, Err(StoreError::Exists { .. })), "nothing is overwritten");
    assert!(matches!(store.backup(&site.folder.path().join("no/copy.db")).await, Err(StoreError::Io { .. })));
    assert_eq!(backup_seal_info(&file).unwrap().kind, SealKind::KeyFile);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(claviger_testkit::leak::canary_search(&bytes, &CANARIES), []);
    let names: Vec<_> = std::fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("copy.db-")), "one file: {names:?}");

    let open = site.folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    assert!(store.backup(&open.join("copy.db")).await.unwrap().folder_is_writable);
}

#[tokio::test]
async fn a_restored_older_backup_is_quarantined_and_what_it_replaces_is_kept() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    for from in 1..=3 {
        refresh(&store, from).await;
    }
    store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    store.spill_write(GRANT, FIRST, ATTEMPT, answer(b"{}")).await.unwrap();
    assert!(matches!(site.restore(&backup), Err(StoreError::InUse { .. })), "not under a process that has it open");
    store.close().await.unwrap();
    let before = site.copy_by_hand();

    let restored = site.restore(&backup).unwrap();
    assert_eq!((restored.accounts, &restored.quarantined, &restored.faults), (4, &vec![AccountId(1)], &vec![]));
    let store = site.guarded();
    assert_eq!((guard_of(&store).await, quarantined(&store).await), (GuardState::Current, vec![AccountId(1)]));
    assert_eq!(texts(&store.grant_load(GRANT).await.unwrap().unwrap()), (CANARIES[0], Some(CANARIES[1])));
    assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
    assert_eq!(store.spill_list().await.unwrap(), [], "its slots were another vault's");
    store.close().await.unwrap();

    let kept = restored.kept.unwrap();
    assert!(kept.join("spill").join(ATTEMPT.to_string()).exists());
    site.put_back(&std::fs::read(kept.join("vault.db")).unwrap());
    let store = site.guarded();
    assert_eq!(guard_of(&store).await, GuardState::OtherInstance, "the replaced one is another instance now");
    assert_eq!(texts(&store.grant_load(GRANT).await.unwrap().unwrap()), ("at-r4", Some("rt-r4")));
    assert_eq!(before.len() as u64, std::fs::metadata(kept.join("vault.db")).unwrap().len());
}

#[tokio::test]
async fn a_restored_backup_since_which_nothing_has_happened_is_not_quarantined() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(site.restore(&backup).unwrap().quarantined, []);
    let store = site.guarded();
    assert_eq!(guard_of(&store).await, GuardState::Current);
    refresh(&store, 1).await;
    store.close().await.unwrap();
    assert_eq!(site.restore(&backup).unwrap().quarantined, [AccountId(1)], "but then it was");
}

#[tokio::test]
async fn a_backup_that_is_restored_beside_its_original_is_quarantined_although_nothing_has_happened_since() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    let elsewhere = site.folder.path().join("drill");
    let restored = vault_restore(&elsewhere, &backup, &site.root(), Some(&site.mirrors()), NOW).unwrap();
    assert_eq!(restored.quarantined, [AccountId(1)], "the original runs, and refreshes with the same token");
    refresh(&store, 1).await;
}

#[tokio::test]
async fn an_answer_that_waits_is_taken_up_by_a_restored_vault_whose_refresh_is_open() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let (backup, older) = (site.folder.path().join("copy.db"), site.folder.path().join("older.db"));
    store.backup(&older).await.unwrap();
    let attempts = vec![ATTEMPT];
    let intent = IntentRow { from: FIRST, fingerprint: store.fingerprint("x"), attempts, instance: InstanceId(1), opened_at: NOW };
    store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    store.intent_open(GRANT, FIRST, intent).await.unwrap();
    store.backup(&backup).await.unwrap();
    store.spill_write(GRANT, FIRST, ATTEMPT, answer(b"the only live token")).await.unwrap();
    store.spill_create(GRANT, FIRST, AttemptId(2)).await.unwrap();
    store.close().await.unwrap();

    site.restore(&backup).unwrap();
    let kept = site.restore(&older).unwrap().kept.unwrap();
    let store = site.guarded();
    assert_eq!(store.spill_list().await.unwrap(), [], "the older one has no refresh open");
    store.close().await.unwrap();
    site.restore(&kept.join("vault.db")).unwrap();
    let store = site.guarded();
    assert_eq!(store.spill_list().await.unwrap(), [ATTEMPT]);
    let read = store.spill_read(GRANT, FIRST, ATTEMPT).await.unwrap().expect("it is there");
    assert_eq!(read.body.as_slice(), b"the only live token");
    assert!(store.grant_load(GRANT).await.unwrap().unwrap().intent.is_some());
}

#[tokio::test]
async fn a_vault_that_was_copied_by_hand_is_restored_and_nothing_is_left_beside_the_copy() {
    let site = Site::new();
    vault_of_every_kind(&site).await.close().await.unwrap();
    let folder = site.folder.path().join("by hand");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("vault.db"), site.copy_by_hand()).unwrap();
    assert_eq!(backup_seal_info(&folder.join("vault.db")).unwrap().kind, SealKind::KeyFile);
    site.restore(&folder.join("vault.db")).unwrap();
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["vault.db"]);
}

#[tokio::test]
async fn a_backup_on_a_new_machine_is_restored_and_quarantined() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    store.close().await.unwrap();
    std::fs::remove_dir_all(site.home()).unwrap();
    std::fs::remove_dir_all(site.mirrors()).unwrap();
    set_permissions(&backup, Permissions::from_mode(0o644)).unwrap();
    let restored = site.restore(&backup).unwrap();
    assert_eq!((restored.quarantined, restored.kept), (vec![AccountId(1)], None));
    let store = site.guarded();
    assert_eq!(guard_of(&store).await, GuardState::Current);
    assert_eq!(std::fs::metadata(site.database()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(store.key_hash_key().await.unwrap().0.len(), 32);
}

#[tokio::test]
async fn what_is_no_whole_backup_of_ours_is_refused_and_changes_nothing() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    store.close().await.unwrap();
    let whole = std::fs::read(&backup).unwrap();
    let bad = site.folder.path().join("bad.db");
    let foreign = |bytes: &[u8]| std::fs::write(&bad, bytes).unwrap();
    let (home, mirror) = (site.copy_by_hand(), std::fs::read(site.mirror()).unwrap());

    assert!(matches!(site.restore(&bad), Err(StoreError::Absent { .. })));
    foreign(b"");
    assert!(matches!(site.restore(&bad), Err(StoreError::NotABackup { .. })), "empty, as a backup that was killed at once leaves it");
    foreign(b"no database at all, but long enough to be looked at as if it were one of them");
    assert!(matches!(site.restore(&bad), Err(StoreError::NotABackup { .. })));
    assert!(matches!(backup_seal_info(&bad), Err(StoreError::NotABackup { .. })));
    for cut in [4096, whole.len() / 2, whole.len() - 4096] {
        foreign(&whole[..cut]);
        assert!(matches!(site.restore(&bad), Err(StoreError::NotABackup { .. })), "cut at {cut}");
    }
    std::fs::remove_file(&bad).unwrap();
    rusqlite::Connection::open(&bad).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    assert!(matches!(site.restore(&bad), Err(StoreError::NotABackup { .. })), "somebody else's database");
    foreign(&whole);
    rusqlite::Connection::open(&bad).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(site.restore(&bad), Err(StoreError::NewerSchema { found: 99, .. })));
    assert!(matches!(site.restore(site.folder.path()), Err(StoreError::NotABackup { .. } | StoreError::Io { .. })), "a folder");

    let other = site.folder.path().join("keys/other.key");
    root_key_file_create(&other).unwrap();
    let wrong = vault_restore(&site.home(), &backup, &RootKey::KeyFile { path: other }, Some(&site.mirrors()), NOW);
    assert!(matches!(wrong, Err(StoreError::WrongKey { path }) if path == backup));

    assert_eq!(site.copy_by_hand(), home);
    assert_eq!(std::fs::read(site.mirror()).unwrap(), mirror);
    let names: Vec<_> = std::fs::read_dir(site.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("restore")), "{names:?}");
    assert_eq!(std::fs::read_dir(site.home().join("backups")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_damaged_vault_is_replaced_by_its_backup_and_kept() {
    let site = Site::new();
    let store = vault_of_every_kind(&site).await;
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    store.close().await.unwrap();
    for (what, damage) in [("no database", b"rubbish".to_vec()), ("half", std::fs::read(site.database()).unwrap()[..8192].to_vec())] {
        std::fs::write(site.database(), &damage).unwrap();
        for log in ["vault.db-wal", "vault.db-shm"] {
            std::fs::write(site.home().join(log), "left over").unwrap();
            set_permissions(site.home().join(log), Permissions::from_mode(0o600)).unwrap();
        }
        let restored = site.restore(&backup).unwrap();
        assert!(restored.kept.is_some_and(|kept| kept.join("vault.db").exists()), "{what}");
        let store = site.guarded();
        assert_eq!(store.load().await.unwrap().accounts.len(), 4, "{what}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_backup_of_a_passphrase_vault_is_opened_by_its_passphrase() {
    let site = Site::new();
    let phrase = RootKey::Passphrase(text(CANARIES[3]));
    let store = SqliteStore::create_with(&site.home(), &phrase, &SimClock::new(), CHEAP).unwrap();
    let backup = site.folder.path().join("copy.db");
    store.backup(&backup).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(backup_seal_info(&backup).unwrap().kind, SealKind::Passphrase);
    assert!(matches!(site.restore(&backup), Err(StoreError::Sealed { .. })));
    assert!(vault_restore(&site.home(), &backup, &phrase, None, Timestamp(7)).is_ok());
}

#[tokio::test]
async fn a_rebind_never_makes_a_tampered_row_readable() {
    let edit = "UPDATE grants SET origins = 'explicit inference https://evil.example:443 usage https://usage.example:443 token https://auth.example:443'";
    for edit in [edit, "UPDATE grants SET refresh_token = zeroblob(80)", "UPDATE grants SET provider = 'evil'"] {
        let site = Site::new();
        let store = site.create();
        place(&store, "a@x.example", oauth()).await;
        store.close().await.unwrap();
        site.sql(edit);
        let store = site.open();
        for origins in [explicit(), StoredOrigins::Builtin] {
            let refused = store.grant_rebind(GRANT, FIRST, origins).await;
            let Err(StoreError::Row(fault)) = refused else { panic!("{edit}: {refused:?}") };
            assert!(matches!(fault.kind, RowFaultKind::Swapped | RowFaultKind::Damaged));
        }
        assert!(matches!(store.grant_load(GRANT).await, Err(StoreError::Row(_))), "{edit}: nothing was written");
    }
}
