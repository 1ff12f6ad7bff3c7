//! The vault's files: who may reach them, and what stands in them.

use crate::{ATTEMPT, CANARIES, FIRST, GRANT, Site, answer, api_key, oauth, place, texts};
use claviger_store::{GrantCommit, RowFaultKind, SPILL_SLOT_BYTES, Store, StoreError, seal_info};
use claviger_testkit::leak::canary_search;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path));
        }
        files.push(path);
    }
    files
}

#[tokio::test]
async fn every_file_is_closed_to_others() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    let _lock = store.grant_lock(GRANT).unwrap();
    let files = files_under(site.folder.path());
    assert!(files.contains(&site.home().join("vault.db-wal")) && files.len() >= 10, "{files:?}");
    for path in files {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
    }
}

/// Changes one thing about a site, and says what must be typed against it.
type Setup = (&'static str, fn(&Site), &'static str);

const SETUPS: [Setup; 32] = [
    ("home open to the group", |site| chmod(&site.home(), 0o750), "chmod 700"),
    ("home open to all", |site| chmod(&site.home(), 0o755), "chmod 700"),
    ("home that others may pass through", |site| chmod(&site.home(), 0o701), "chmod 700"),
    ("spill open to others", |site| chmod(&site.home().join("spill"), 0o705), "chmod 700"),
    ("locks open to the group", |site| chmod(&site.home().join("locks"), 0o770), "chmod 700"),
    ("backups open to all", |site| chmod(&site.home().join("backups"), 0o755), "chmod 700"),
    ("database readable to the group", |site| chmod(&site.database(), 0o640), "chmod 600"),
    ("database readable to all", |site| chmod(&site.database(), 0o604), "chmod 600"),
    ("database writable to others", |site| chmod(&site.database(), 0o602), "chmod 600"),
    ("key readable to the group", |site| chmod(&site.key_path(), 0o640), "chmod 600"),
    ("key readable to all", |site| chmod(&site.key_path(), 0o644), "chmod 600"),
    ("home behind a link", |site| link_away(&site.home()), "name the folder"),
    ("spill behind a link", |site| link_away(&site.home().join("spill")), "name the folder"),
    ("locks behind a link", |site| link_away(&site.home().join("locks")), "name the folder"),
    ("backups behind a link", |site| link_away(&site.home().join("backups")), "name the folder"),
    ("database behind a link", |site| link_away(&site.database()), "put the file itself"),
    ("key behind a link", |site| link_away(&site.key_path()), "put the file itself"),
    ("a foreign WAL behind a link", |site| symlink("/dev/null", site.home().join("vault.db-wal")).unwrap(), "put the file itself"),
    (
        "a foreign index of the WAL behind a link",
        |site| symlink("/dev/null", site.home().join("vault.db-shm")).unwrap(),
        "put the file itself",
    ),
    ("a foreign journal behind a link", |site| symlink("/dev/null", site.home().join("vault.db-journal")).unwrap(), "put the file itself"),
    ("WAL open to the group", |site| plant(&site.home().join("vault.db-wal"), 0o660), "chmod 600"),
    ("journal open to all", |site| plant(&site.home().join("vault.db-journal"), 0o644), "chmod 600"),
    ("a folder as WAL", |site| std::fs::create_dir(site.home().join("vault.db-wal")).unwrap(), "move it away"),
    ("the vault's lock behind a link", |site| link_away(&site.home().join("locks/vault")), "put the file itself"),
    ("the vault's lock open to all", |site| chmod(&site.home().join("locks/vault"), 0o644), "chmod 600"),
    ("a grant's lock behind a link", |site| symlink("/dev/null", site.home().join("locks/1")).unwrap(), "put the file itself"),
    ("a grant's lock open to the group", |site| plant(&site.home().join("locks/1"), 0o620), "chmod 600"),
    ("a slot behind a link", |site| link_away(&slot(site)), "put the file itself"),
    ("a slot open to others", |site| chmod(&slot(site), 0o604), "chmod 600"),
    ("a folder as slot", |site| replace_by_folder(&slot(site)), "move it away"),
    ("a folder as database", |site| replace_by_folder(&site.database()), "move it away"),
    ("a file as spill", |site| replace_by_file(&site.home().join("spill")), "name another"),
];

fn chmod(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn link_away(path: &Path) {
    let real = path.with_extension("real");
    std::fs::rename(path, &real).unwrap();
    symlink(&real, path).unwrap();
}

fn replace_by_folder(path: &Path) {
    std::fs::remove_file(path).unwrap();
    std::fs::create_dir(path).unwrap();
    chmod(path, 0o700);
}

fn replace_by_file(path: &Path) {
    std::fs::remove_dir_all(path).unwrap();
    std::fs::write(path, "").unwrap();
    chmod(path, 0o600);
}

fn plant(path: &Path, mode: u32) {
    std::fs::write(path, "").unwrap();
    chmod(path, mode);
}

fn slot(site: &Site) -> PathBuf {
    site.home().join("spill").join(ATTEMPT.to_string())
}

/// Opens a vault and uses what stands in files of its own: a lock and a slot.
async fn open_and_use(site: &Site) -> Result<(), StoreError> {
    let store = site.try_open()?;
    let _lock = store.grant_lock(GRANT)?;
    store.spill_read(GRANT, FIRST, ATTEMPT).await.map(drop)
}

/// A vault at rest with a slot.
async fn site_with_a_slot() -> Site {
    let site = Site::new();
    let store = site.create();
    store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    store.close().await.unwrap();
    site
}

#[tokio::test]
async fn an_unsafe_place_is_refused_with_what_to_type() {
    open_and_use(&site_with_a_slot().await).await.expect("a vault that nobody spoiled opens");
    for (what, spoil, hint) in SETUPS {
        let site = site_with_a_slot().await;
        spoil(&site);
        let error = open_and_use(&site).await.expect_err(what);
        assert!(matches!(error, StoreError::Unsafe { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains(hint), "{what}: {error}");
    }
    let runs = SETUPS.len() as u64;
    claviger_testkit::proof_row("storage: modes, links and kinds", runs, runs, "0 opened");
}

/// A file or folder by name.
type Place = (&'static str, fn(&Site) -> PathBuf);

#[tokio::test]
async fn a_foreign_owner_is_refused() {
    let places: [Place; 8] = [
        ("home", Site::home),
        ("database", Site::database),
        ("key", Site::key_path),
        ("spill", |site| site.home().join("spill")),
        ("locks", |site| site.home().join("locks")),
        ("backups", |site| site.home().join("backups")),
        ("the vault's lock", |site| site.home().join("locks/vault")),
        ("a slot", slot),
    ];
    let mut refused = 0;
    let mut skipped = Vec::new();
    for (what, place) in places {
        let site = site_with_a_slot().await;
        match std::os::unix::fs::chown(place(&site), Some(54_321), None) {
            Ok(()) => {}
            // Only a privileged test can give a file away.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                skipped.push(what);
                continue;
            }
            Err(error) => panic!("{what}: {error}"),
        }
        let error = open_and_use(&site).await.expect_err(what);
        assert!(error.to_string().contains("belongs to user 54321") && error.to_string().contains("chown"), "{what}: {error}");
        refused += 1;
    }
    let worst = if skipped.is_empty() { "0 opened".to_owned() } else { format!("not privileged, skipped: {}", skipped.join(", ")) };
    eprintln!("foreign owners: {refused} refused; {worst}");
    claviger_testkit::proof_row("storage: foreign owners", refused, refused, &worst);
}

#[test]
fn an_open_folder_is_not_made_a_vault() {
    let site = Site::new();
    std::fs::create_dir(site.home()).unwrap();
    chmod(&site.home(), 0o755);
    let error = claviger_store::SqliteStore::create(&site.home(), &site.root(), &claviger_testkit::SimClock::new()).unwrap_err();
    assert!(error.to_string().contains("chmod 700"), "{error}");
    let nested = site.home().join("a/b/c");
    chmod(&site.home(), 0o700);
    claviger_store::SqliteStore::create(&nested, &site.root(), &claviger_testkit::SimClock::new()).unwrap();
    assert!(seal_info(&nested).is_ok(), "missing parents are made");
}

#[tokio::test]
async fn no_secret_stands_in_any_file() {
    let site = Site::new();
    let store = site.create();
    let login = place(&store, "a@x.example", oauth()).await;
    place(&store, "b@x.example", api_key()).await;
    store.spill_create(login.grant, FIRST, ATTEMPT).await.unwrap();
    store.spill_write(login.grant, FIRST, ATTEMPT, answer(CANARIES.join(" ").as_bytes())).await.unwrap();
    let secret = claviger_store::GrantSecret::OAuth { access: crate::text(CANARIES[1]), refresh: None };
    let commit = GrantCommit { grant: login.grant, from: FIRST, secret, expires_at: None, issued_at: crate::NOW, attempt: Some(ATTEMPT) };
    store.grant_commit(commit).await.unwrap();
    let read_all = || {
        files_under(&site.home())
            .into_iter()
            .filter(|path| path.is_file())
            .map(|path| std::fs::read(path).unwrap())
            .collect::<Vec<_>>()
            .concat()
    };
    let all = read_all();
    assert!(all.len() > SPILL_SLOT_BYTES + 10_000, "the WAL and the slot are among them");
    assert_eq!(canary_search(&all, &CANARIES), []);
    store.close().await.unwrap();
    assert_eq!(canary_search(&read_all(), &CANARIES), []);

    std::fs::write(site.home().join("spill/planted"), format!("x{}x", CANARIES[0])).unwrap();
    assert_ne!(canary_search(&read_all(), &CANARIES), [], "the search finds what is planted");
}

#[tokio::test]
async fn the_wal_is_gone_after_a_close() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    store.close().await.unwrap();
    let wal = std::fs::metadata(site.home().join("vault.db-wal")).map_or(0, |metadata| metadata.len());
    assert_eq!(wal, 0);
}

#[tokio::test]
async fn a_torn_or_moved_slot_is_an_error_that_names_it() {
    let site = Site::new();
    let store = site.create();
    store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    let path = site.home().join("spill").join(ATTEMPT.to_string());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), SPILL_SLOT_BYTES as u64);
    store.spill_write(GRANT, FIRST, ATTEMPT, answer(b"{\"access_token\":\"at-2\"}")).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len(), SPILL_SLOT_BYTES);
    let sealed = 4 + u32::from_be_bytes(whole[..4].try_into().unwrap()) as usize;
    for position in 0..sealed {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x80;
        std::fs::write(&path, damaged).unwrap();
        let error = store.spill_read(GRANT, FIRST, ATTEMPT).await.unwrap_err();
        assert!(matches!(&error, StoreError::Row(fault) if fault.row.ends_with(&ATTEMPT.to_string())), "byte {position}: {error:?}");
    }
    let half = [&whole[..sealed / 2], &vec![0; SPILL_SLOT_BYTES - sealed / 2]].concat();
    std::fs::write(&path, half).unwrap();
    assert!(matches!(store.spill_read(GRANT, FIRST, ATTEMPT).await, Err(StoreError::Row(fault)) if fault.kind == RowFaultKind::Damaged));

    let other = claviger_domain::id::AttemptId(7);
    let moved = site.home().join("spill").join(other.to_string());
    std::fs::write(&moved, whole).unwrap();
    chmod(&moved, 0o600);
    assert!(matches!(store.spill_read(GRANT, FIRST, other).await, Err(StoreError::Row(fault)) if fault.kind == RowFaultKind::Swapped));
}

#[tokio::test]
async fn a_slot_behind_a_link_is_refused() {
    let site = Site::new();
    let store = site.create();
    let target = site.folder.path().join("target");
    std::fs::write(&target, "").unwrap();
    symlink(&target, site.home().join("spill").join(ATTEMPT.to_string())).unwrap();
    assert!(store.spill_create(GRANT, FIRST, ATTEMPT).await.is_err());
    assert!(matches!(store.spill_read(GRANT, FIRST, ATTEMPT).await, Err(StoreError::Unsafe { .. })));
    assert!(store.spill_write(GRANT, FIRST, ATTEMPT, answer(b"{}")).await.is_err());
    assert_eq!(std::fs::read(&target).unwrap(), b"");
    symlink(&target, site.home().join("locks").join("1")).unwrap();
    assert!(matches!(store.grant_lock(GRANT), Err(StoreError::Unsafe { .. })));
}

#[tokio::test]
async fn a_full_disk_stops_the_journal_and_keeps_the_answer() {
    // A disk that is full is a tmpfs of 1 MiB here, and mounting one takes root; the in-memory store shows the same to everybody.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    std::fs::create_dir(site.home()).unwrap();
    let mount = |arguments: &[&str]| assert!(std::process::Command::new(arguments[0]).args(&arguments[1..]).status().unwrap().success());
    let home = site.home();
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", home.to_str().unwrap()]);
    let store = site.create();
    let login = place(&store, "a@x.example", oauth()).await;
    store.spill_create(login.grant, FIRST, ATTEMPT).await.unwrap();
    let mut filler = std::fs::File::create(home.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 512]).is_ok() {}

    let mut refused = Ok(claviger_store::Write::Stale);
    for attempt in 1..200 {
        let attempts = vec![claviger_domain::id::AttemptId(attempt)];
        let fingerprint = store.fingerprint("rt-1");
        let intent = claviger_store::IntentRow {
            from: FIRST,
            fingerprint,
            attempts,
            instance: claviger_domain::id::InstanceId(1),
            opened_at: crate::NOW,
        };
        refused = store.intent_open(login.grant, FIRST, intent).await;
        if refused.is_err() {
            break;
        }
    }
    assert!(matches!(refused, Err(StoreError::Unwritable { .. })), "{refused:?}");
    let no_slot = store.spill_create(login.grant, FIRST, claviger_domain::id::AttemptId(999)).await;
    assert!(matches!(no_slot, Err(StoreError::Unwritable { .. })), "{no_slot:?}");
    store.spill_write(login.grant, FIRST, ATTEMPT, answer(b"{\"access_token\":\"at-2\"}")).await.expect("the slot was allocated before");
    assert_eq!(store.spill_list().await.unwrap(), [ATTEMPT]);
    assert_eq!(texts(&store.grant_load(login.grant).await.unwrap().unwrap()).0, CANARIES[0]);
    std::fs::remove_file(home.join("filler")).unwrap();
    assert!(store.spill_read(login.grant, FIRST, ATTEMPT).await.unwrap().is_some());
    store.close().await.unwrap();
    drop(filler);
    mount(&["umount", home.to_str().unwrap()]);
}
