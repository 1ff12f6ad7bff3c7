//! Another seal on the same vault: exactly one of two keys opens it, and processes that have it open go on.

use crate::{ATTEMPT, CANARIES, CHEAP, FIRST, GRANT, NOW, Site, oauth, place, text, texts};
use claviger_domain::id::InstanceId;
use claviger_domain::time::Timestamp;
use claviger_store::{
    GrantCommit, GrantSecret, IntentRow, KdfCost, KitState, RootKey, RootSecret, SealKind, SqliteStore, Store, StoreError, Write,
    root_key_file_create, seal_info,
};
use claviger_testkit::SimClock;

const LATER: Timestamp = Timestamp(NOW.0 + 60_000);

fn try_open(site: &Site, root: &RootKey) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&site.home(), root, &SimClock::new())
}

fn passphrase() -> RootKey {
    RootKey::Passphrase(text(CANARIES[3]))
}

fn keyring(key: &RootSecret) -> RootKey {
    RootKey::Keyring { entry: "vault-0001".to_owned(), key: key.clone() }
}

/// Another key file beside the first one.
fn other_file(site: &Site, name: &str) -> RootKey {
    let path = site.folder.path().join("keys").join(name);
    root_key_file_create(&path).unwrap();
    RootKey::KeyFile { path }
}

async fn assert_whole(store: &SqliteStore) {
    assert_eq!(texts(&store.grant_load(GRANT).await.unwrap().unwrap()), (CANARIES[0], Some(CANARIES[1])));
}

#[tokio::test]
async fn a_vault_changes_from_each_kind_of_seal_to_each() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    let (fingerprint, id) = (store.fingerprint("rt-1"), seal_info(&site.home()).unwrap().vault_id);
    store.close().await.unwrap();
    let secret = RootSecret::generate();
    let steps = [passphrase(), keyring(&secret), passphrase(), other_file(&site, "a"), keyring(&secret), other_file(&site, "b")];
    let mut old = site.root();
    for new in steps.into_iter().chain([other_file(&site, "c")]) {
        let store = try_open(&site, &old).unwrap();
        store.rewrap(&new, CHEAP, LATER).await.unwrap();
        assert_whole(&store).await;
        store.close().await.unwrap();
        assert!(matches!(try_open(&site, &old), Err(StoreError::Sealed { .. } | StoreError::WrongKey { .. })), "{old:?} -> {new:?}");
        let info = seal_info(&site.home()).unwrap();
        assert_eq!((Some(info.kind), info.vault_id), (new.kind(), id));
        assert_eq!(info.keyring_entry.as_deref(), (info.kind == SealKind::Keyring).then_some("vault-0001"));
        let store = try_open(&site, &new).unwrap();
        assert_whole(&store).await;
        assert_eq!(store.fingerprint("rt-1"), fingerprint);
        let status = store.seal_status().await.unwrap();
        assert_eq!((status.changed_at, status.cost), (Some(LATER), (info.kind == SealKind::Passphrase).then_some(CHEAP)));
        store.data_key_rotate(LATER).await.unwrap();
        assert_whole(&store).await;
        store.close().await.unwrap();
        old = new;
    }
}

#[tokio::test]
async fn another_passphrase_is_another_seal() {
    let site = Site::new();
    let new = RootKey::Passphrase(text("canary-passphrase-0002"));
    let store = SqliteStore::create_with(&site.home(), &passphrase(), &SimClock::new(), CHEAP).unwrap();
    place(&store, "a@x.example", oauth()).await;
    store.rewrap(&new, CHEAP, LATER).await.unwrap();
    drop(store);
    assert!(matches!(try_open(&site, &passphrase()), Err(StoreError::WrongKey { .. })));
    assert_whole(&try_open(&site, &new).unwrap()).await;
}

#[tokio::test]
async fn a_vault_can_be_born_with_a_key_in_the_keyring() {
    let site = Site::new();
    let root = keyring(&RootSecret::generate());
    drop(SqliteStore::create(&site.home(), &root, &SimClock::new()).unwrap());
    assert!(try_open(&site, &root).is_ok());
    assert!(matches!(try_open(&site, &keyring(&RootSecret::generate())), Err(StoreError::WrongKey { .. })));
    assert!(matches!(try_open(&site, &site.root()), Err(StoreError::Sealed { .. })));
    site.sql("UPDATE meta SET keyring_entry = 'vault-0002'");
    assert!(matches!(seal_info(&site.home()), Err(StoreError::Row(_))), "the checksum covers the entry");
}

#[tokio::test]
async fn a_rewrap_that_fails_at_any_statement_leaves_the_old_seal_alone() {
    let stops = [
        "BEFORE UPDATE ON data_keys WHEN NEW.version = 1",
        "BEFORE UPDATE ON data_keys WHEN NEW.version = 2",
        "BEFORE UPDATE ON meta",
        "AFTER UPDATE ON meta",
    ];
    for stop in stops {
        let site = Site::new();
        let store = site.create();
        place(&store, "a@x.example", oauth()).await;
        // An answer keeps the first data key beside the second one.
        store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
        store.spill_write(GRANT, FIRST, ATTEMPT, crate::answer(b"answer")).await.unwrap();
        store.data_key_rotate(NOW).await.unwrap();
        site.sql(&format!("CREATE TRIGGER stop {stop} BEGIN SELECT RAISE(ABORT, 'stopped'); END"));
        assert!(matches!(store.rewrap(&passphrase(), CHEAP, LATER).await, Err(StoreError::Database { .. })), "{stop}");
        site.sql("DROP TRIGGER stop");
        assert_whole(&store).await;
        drop(store);
        assert!(try_open(&site, &passphrase()).is_err(), "{stop}");
        let store = site.open();
        assert_eq!(store.seal_status().await.unwrap().changed_at, None);
        store.rewrap(&passphrase(), CHEAP, LATER).await.unwrap();
        drop(store);
        assert!(site.try_open().is_err(), "{stop}");
        let store = try_open(&site, &passphrase()).unwrap();
        assert_whole(&store).await;
        assert!(store.spill_read(GRANT, FIRST, ATTEMPT).await.unwrap().is_some(), "{stop}");
    }
    claviger_testkit::proof_row("seal: a change stopped at each of its statements", 4, 4, "opens with exactly one key");
}

#[tokio::test]
async fn what_cannot_seal_changes_nothing() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    let (_, kit) = store.recovery_secret().await.unwrap();
    let absent = RootKey::KeyFile { path: site.folder.path().join("keys/nowhere") };
    let costly = KdfCost { memory_kib: u32::MAX, ..CHEAP };
    assert!(matches!(store.rewrap(&RootKey::Kit(kit.clone()), CHEAP, LATER).await, Err(StoreError::KitSealsNothing)));
    assert!(matches!(store.rewrap(&absent, CHEAP, LATER).await, Err(StoreError::Sealed { .. })));
    assert!(matches!(store.rewrap(&RootKey::Passphrase(text("")), CHEAP, LATER).await, Err(StoreError::Sealed { .. })));
    assert!(matches!(store.rewrap(&passphrase(), costly, LATER).await, Err(StoreError::Row(_))), "nobody could open it again");
    drop(store);
    assert_whole(&site.open()).await;
    let other = Site::new();
    assert!(matches!(SqliteStore::create(&other.home(), &RootKey::Kit(kit), &SimClock::new()), Err(StoreError::KitSealsNothing)));
}

#[tokio::test]
async fn a_kit_opens_whatever_the_seal_is_until_the_seal_is_changed() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    for new in [passphrase(), keyring(&RootSecret::generate()), other_file(&site, "a")] {
        let (id, secret) = store.recovery_secret().await.unwrap();
        assert_eq!(id, seal_info(&site.home()).unwrap().vault_id);
        store.kit_made(LATER).await.unwrap();
        assert_eq!(store.seal_status().await.unwrap().kit, KitState::Current { made_at: LATER });
        let kit = RootKey::Kit(RootSecret::from_bytes(zeroize::Zeroizing::new(*secret.expose())));
        let opened = try_open(&site, &kit).unwrap();
        assert_whole(&opened).await;
        opened.data_key_rotate(LATER).await.unwrap();
        opened.close().await.unwrap();

        store.rewrap(&new, CHEAP, LATER).await.unwrap();
        assert_eq!(store.seal_status().await.unwrap().kit, KitState::Outdated { made_at: LATER });
        assert!(matches!(try_open(&site, &kit), Err(StoreError::WrongKey { .. })));
        assert_ne!(store.recovery_secret().await.unwrap().1.expose(), secret.expose());
    }
    let fresh = Site::new();
    assert_eq!(fresh.create().seal_status().await.unwrap().kit, KitState::Missing);
}

#[tokio::test]
async fn a_kit_brings_back_a_vault_whose_key_is_lost() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    let (_, secret) = store.recovery_secret().await.unwrap();
    store.close().await.unwrap();
    std::fs::remove_file(site.key_path()).unwrap();
    let store = try_open(&site, &RootKey::Kit(secret)).unwrap();
    store.rewrap(&passphrase(), CHEAP, LATER).await.unwrap();
    store.close().await.unwrap();
    assert_whole(&try_open(&site, &passphrase()).unwrap()).await;
}

#[tokio::test]
async fn no_data_key_is_added_that_a_running_process_of_the_old_seal_could_not_open() {
    let site = Site::new();
    let (one, two) = (site.create(), site.open());
    place(&one, "a@x.example", oauth()).await;
    one.rewrap(&passphrase(), CHEAP, LATER).await.unwrap();
    let secret = GrantSecret::OAuth { access: text("at-2"), refresh: Some(text("rt-2")) };
    let commit = GrantCommit { grant: GRANT, from: FIRST, secret, expires_at: None, issued_at: NOW, attempt: None };
    assert_eq!(two.grant_commit(commit).await.unwrap(), Write::Done(FIRST.next()), "the data keys are what they were");
    for refused in [two.recovery_secret().await.map(drop), two.kit_made(LATER).await, two.rewrap(&site.root(), CHEAP, LATER).await] {
        assert!(matches!(refused, Err(StoreError::SealChanged { .. })), "{refused:?}");
    }
    assert!(matches!(two.data_key_rotate(LATER).await, Err(StoreError::SealChanged { .. })));

    let refused = one.data_key_rotate(LATER).await;
    assert!(matches!(refused, Err(StoreError::OlderSealInUse { .. })), "{refused:?}");
    assert_eq!(one.seal_status().await.unwrap().data_keys.len(), 1);
    assert_eq!(texts(&two.grant_load(GRANT).await.unwrap().unwrap()).0, "at-2");
    two.close().await.unwrap();
    assert_eq!(one.data_key_rotate(LATER).await.unwrap().retired, [1]);
    let again = try_open(&site, &passphrase()).unwrap();
    assert_eq!(texts(&again.grant_load(GRANT).await.unwrap().unwrap()).0, "at-2");
}

#[tokio::test]
async fn a_seal_that_changes_before_a_process_has_met_the_newest_data_key_locks_that_process_out_and_says_what_helps() {
    let site = Site::new();
    let (one, two) = (site.create(), site.open());
    place(&one, "a@x.example", oauth()).await;
    one.data_key_rotate(LATER).await.unwrap();
    one.rewrap(&passphrase(), CHEAP, LATER).await.unwrap();
    let error = two.load().await.unwrap_err();
    assert!(matches!(error, StoreError::SealChanged { .. }), "{error:?}");
    assert!(error.to_string().contains("restart"), "{error}");
}

#[tokio::test]
async fn a_data_key_that_goes_disturbs_no_running_process_of_the_old_seal() {
    let site = Site::new();
    let (one, two) = (site.create(), site.open());
    place(&one, "a@x.example", oauth()).await;
    let attempts = vec![ATTEMPT];
    let intent = IntentRow { from: FIRST, fingerprint: one.fingerprint("x"), attempts, instance: InstanceId(1), opened_at: NOW };
    one.intent_open(GRANT, FIRST, intent).await.unwrap();
    assert_eq!(one.data_key_rotate(NOW).await.unwrap().kept.len(), 1, "the open refresh keeps the first one");
    assert_whole(&two).await;
    one.intent_withdraw(GRANT, FIRST, ATTEMPT).await.unwrap();
    // As a rotation that was stopped before its end, beside a seal that changes.
    site.sql("UPDATE data_keys SET resealed_at = NULL");
    one.rewrap(&passphrase(), CHEAP, LATER).await.unwrap();
    let ended = one.data_key_rotate(LATER).await.unwrap();
    assert_eq!((ended.resumed, ended.retired), (true, vec![1]));
    assert_whole(&two).await;
    place(&two, "b@x.example", GrantSecret::OAuth { access: text("at-2"), refresh: Some(text("rt-2")) }).await;
    assert_eq!(one.load().await.unwrap().faults, []);
}
