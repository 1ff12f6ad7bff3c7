//! Opening a vault: the right key, a wrong one, none.

use crate::{CANARIES, CHEAP, Site, api_key, oauth, place, text, texts};
use claviger_store::{RootKey, RowFaultKind, SealKind, SqliteStore, Store, StoreError, root_key_file_create, seal_info, vault_exists};
use claviger_testkit::SimClock;

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let site = Site::new();
    assert!(!vault_exists(&site.home()));
    let store = site.create();
    assert!(vault_exists(&site.home()));
    let login = place(&store, "a@x.example", oauth()).await;
    let key = place(&store, "b@x.example", api_key()).await;
    let (fingerprint, hash_key) = (store.fingerprint("rt-1"), store.key_hash_key().await.unwrap());
    store.close().await.unwrap();

    let store = site.open();
    assert_eq!(texts(&store.grant_load(login.grant).await.unwrap().unwrap()), (CANARIES[0], Some(CANARIES[1])));
    assert_eq!(texts(&store.grant_load(key.grant).await.unwrap().unwrap()), (CANARIES[2], None));
    assert_eq!(store.fingerprint("rt-1"), fingerprint);
    assert_eq!(*store.key_hash_key().await.unwrap().0, *hash_key.0);
    assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_written_before_the_store_was_dropped_is_there() {
    let site = Site::new();
    let store = site.create();
    let login = place(&store, "a@x.example", oauth()).await;
    drop(store);
    assert!(site.open().grant_load(login.grant).await.unwrap().is_some());
}

#[tokio::test]
async fn another_key_file_is_a_wrong_key_and_not_damage() {
    let site = Site::new();
    site.create().close().await.unwrap();
    let other = site.folder.path().join("keys/other.key");
    root_key_file_create(&other).unwrap();
    let error = SqliteStore::open(&site.home(), &RootKey::KeyFile { path: other }, &SimClock::new()).unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_header_is_damage_and_not_a_wrong_key() {
    for edit in [
        "UPDATE meta SET sentinel = zeroblob(60)",
        "UPDATE meta SET seal_kind = 'passphrase'",
        "UPDATE meta SET vault_id = zeroblob(16)",
        "UPDATE meta SET checksum = zeroblob(8)",
    ] {
        let site = Site::new();
        site.create().close().await.unwrap();
        site.sql(edit);
        let error = site.try_open().unwrap_err();
        let StoreError::Row(fault) = error else { panic!("{edit}: {error:?}") };
        assert_eq!((fault.table, fault.kind), ("meta", RowFaultKind::Damaged), "{edit}");
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_data_key_is_named() {
    let site = Site::new();
    site.create().close().await.unwrap();
    let other = Site::new();
    other.create().close().await.unwrap();
    let foreign =
        format!("ATTACH '{}' AS other; UPDATE data_keys SET wrapped = (SELECT wrapped FROM other.data_keys)", other.database().display());
    for (edit, kind) in [(foreign.as_str(), RowFaultKind::Swapped), ("UPDATE data_keys SET wrapped = zeroblob(81)", RowFaultKind::Damaged)]
    {
        site.sql(edit);
        let error = site.try_open().unwrap_err();
        let StoreError::Row(fault) = error else { panic!("{error:?}") };
        assert_eq!((fault.table, fault.column, fault.kind), ("data_keys", "wrapped", kind));
    }
}

#[test]
fn a_passphrase_opens_its_vault_and_a_wrong_one_does_not() {
    let site = Site::new();
    let clock = SimClock::new();
    let passphrase = |phrase: &str| RootKey::Passphrase(text(phrase));
    let create = |phrase: &str| SqliteStore::create_with(&site.home(), &passphrase(phrase), &clock, CHEAP);
    assert!(matches!(create(""), Err(StoreError::Sealed { .. })), "an empty passphrase seals nothing");
    assert!(!vault_exists(&site.home()));
    drop(create(CANARIES[3]).unwrap());
    assert_eq!(seal_info(&site.home()).unwrap().kind, SealKind::Passphrase);
    assert!(SqliteStore::open(&site.home(), &passphrase(CANARIES[3]), &clock).is_ok());
    let wrong = SqliteStore::open(&site.home(), &passphrase("canary-passphrase-0002"), &clock).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongKey { .. }), "{wrong:?}");
    let other_kind = site.try_open().unwrap_err();
    assert!(matches!(&other_kind, StoreError::Sealed { needs, .. } if needs.contains("passphrase")), "{other_kind:?}");
}

#[test]
fn a_cost_that_would_exhaust_the_machine_is_refused() {
    let site = Site::new();
    let root = RootKey::Passphrase(text(CANARIES[3]));
    let cost = claviger_store::KdfCost { memory_kib: u32::MAX, ..CHEAP };
    let error = SqliteStore::create_with(&site.home(), &root, &SimClock::new(), cost).unwrap_err();
    assert!(matches!(error, StoreError::Row(_)), "{error:?}");
    drop(SqliteStore::create_with(&site.home(), &root, &SimClock::new(), CHEAP).unwrap());
    site.sql("UPDATE meta SET kdf_memory_kib = 4294967295");
    assert!(matches!(SqliteStore::open(&site.home(), &root, &SimClock::new()), Err(StoreError::Row(_))));
}

#[test]
fn a_missing_vault_a_missing_key_and_a_second_vault_are_three_errors() {
    let site = Site::new();
    assert!(matches!(site.try_open(), Err(StoreError::Absent { .. })));
    assert!(matches!(seal_info(&site.home()), Err(StoreError::Absent { .. })));
    drop(site.create());
    assert_eq!(seal_info(&site.home()).unwrap().kind, SealKind::KeyFile);
    let again = SqliteStore::create(&site.home(), &site.root(), &SimClock::new());
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    std::fs::remove_file(site.key_path()).unwrap();
    assert!(matches!(site.try_open(), Err(StoreError::Sealed { .. })));
    let phrase = RootKey::Passphrase(text(CANARIES[3]));
    assert!(matches!(SqliteStore::open(&site.home(), &phrase, &SimClock::new()), Err(StoreError::Sealed { .. })));
}

#[test]
fn a_key_file_is_never_overwritten_and_never_odd() {
    let site = Site::new();
    let path = site.key_path();
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.starts_with('#') && written.lines().count() == 2, "one comment line, one line of digits");
    assert!(matches!(root_key_file_create(&path), Err(StoreError::Exists { .. })));
    drop(site.create());
    for odd in ["", "# nothing else\n", "0123\n", "zz\n"] {
        std::fs::write(&path, odd).unwrap();
        assert!(matches!(site.try_open(), Err(StoreError::Unsafe { .. })), "{odd:?}");
    }
    std::fs::write(&path, [0xff; 64]).unwrap();
    assert!(site.try_open().is_err());
    std::fs::write(&path, written).unwrap();
    assert!(site.try_open().is_ok());
}

#[tokio::test]
async fn nothing_that_can_be_printed_prints_a_secret() {
    let site = Site::new();
    let store = site.create();
    let login = place(&store, "a@x.example", oauth()).await;
    place(&store, "b@x.example", api_key()).await;
    let draft = crate::draft("c@x.example", oauth());
    let record = crate::answer(CANARIES[1].as_bytes());
    let printed = format!(
        "{store:?} {draft:?} {:?} {:?} {:?} {:?} {record:?} {:?} {:?}",
        store.load().await.unwrap(),
        store.grant_load(login.grant).await.unwrap(),
        store.key_hash_key().await.unwrap(),
        store.grant_lock(login.grant).unwrap(),
        RootKey::Passphrase(text(CANARIES[3])),
        claviger_store::MemoryStore::new(),
    );
    let bytes = format!("{:?}", CANARIES[1].as_bytes());
    assert!(!printed.contains(&bytes), "a body printed as numbers is printed");
    assert_eq!(claviger_testkit::leak::canary_search(printed.as_bytes(), &CANARIES), []);
}
