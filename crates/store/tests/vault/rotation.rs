//! Rotation of the data key: online, in pieces, and without losing anything that an older key still opens.

use crate::{ATTEMPT, CANARIES, FIRST, GRANT, NOW, Site, answer, api_key, oauth, place, text, texts};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision, InstanceId};
use claviger_store::{GrantCommit, GrantSecret, IntentRow, RowFault, RowFaultKind, SqliteStore, Store, StoreError, Write};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Names the home and the key file to the child of the test that kills.
const ROLE: &str = "CLAVIGER_TEST_ROTATION_CHILD";

/// A vault with `logins` logins and one key.
async fn vault(logins: usize) -> (Site, SqliteStore) {
    let site = Site::new();
    let store = site.create();
    for n in 1..=logins {
        place(&store, &format!("{n}@x.example"), login(n)).await;
    }
    place(&store, "key@x.example", api_key()).await;
    (site, store)
}

fn login(n: usize) -> GrantSecret {
    GrantSecret::OAuth { access: text(&format!("at-{n}")), refresh: Some(text(&format!("rt-{n}"))) }
}

/// Every secret with its revision, by grant.
async fn contents(store: &SqliteStore) -> BTreeMap<GrantId, (u64, String, Option<String>)> {
    let vault = store.load().await.unwrap();
    assert_eq!(vault.faults, [], "everything opens");
    let read = |row: &claviger_store::GrantRow| {
        let (bearer, refresh) = texts(row);
        (row.revision.0, bearer.to_owned(), refresh.map(str::to_owned))
    };
    vault.grants.iter().map(|row| (row.id, read(row))).collect()
}

fn intent(store: &SqliteStore, attempt: AttemptId) -> IntentRow {
    IntentRow { from: FIRST, fingerprint: store.fingerprint("rt-1"), attempts: vec![attempt], instance: InstanceId(1), opened_at: NOW }
}

fn versions(status: &claviger_store::SealStatus) -> Vec<u32> {
    status.data_keys.iter().map(|key| key.version).collect()
}

#[tokio::test]
async fn a_rotation_seals_everything_anew_and_changes_nothing_that_anybody_sees() {
    let (site, store) = vault(40).await;
    let (before, fingerprint, hash_key) = (contents(&store).await, store.fingerprint("rt-1"), store.key_hash_key().await.unwrap());
    let rotated = store.data_key_rotate(NOW.plus(std::time::Duration::from_secs(1))).await.unwrap();
    assert_eq!((rotated.version, rotated.resumed, rotated.resealed), (2, false, 40 * 2 + 1 + 2));
    assert_eq!((rotated.retired, rotated.kept, rotated.unopened), (vec![1], vec![], vec![]));
    let status = store.seal_status().await.unwrap();
    assert_eq!(versions(&status), [2]);
    assert_eq!((status.data_keys[0].fields, status.rotation_unfinished), (83, false));

    for store in [&store, &site.open()] {
        assert_eq!(contents(store).await, before, "secrets and revisions are what they were");
        assert_eq!(store.fingerprint("rt-1"), fingerprint);
        assert_eq!(*store.key_hash_key().await.unwrap().0, *hash_key.0, "virtual keys are known as before");
    }
}

#[tokio::test]
async fn another_process_adopts_a_new_data_key_with_its_next_job() {
    let (site, one) = vault(2).await;
    let two = site.open();
    for round in 0..3 {
        let rotated = one.data_key_rotate(NOW).await.unwrap();
        assert_eq!(rotated.retired, [rotated.version - 1]);
        assert_eq!(contents(&two).await, contents(&one).await, "round {round}");
    }
    one.data_key_rotate(NOW).await.unwrap();
    let commit = GrantCommit { grant: GRANT, from: FIRST, secret: login(9), expires_at: None, issued_at: NOW, attempt: None };
    assert_eq!(two.grant_commit(commit).await.unwrap(), Write::Done(FIRST.next()), "the first job after a rotation may be a write");
    let status = one.seal_status().await.unwrap();
    assert_eq!(versions(&status), [5]);
    assert_eq!(status.data_keys[0].fields, 7, "nothing was sealed under an older key");
    assert_eq!(contents(&one).await[&GRANT].1, "at-9");
}

#[tokio::test]
async fn a_hundred_rotations_beside_refreshes_lose_none_and_fail_none() {
    let (site, one) = vault(8).await;
    let two = site.open();
    let refreshing = async {
        let mut revision = FIRST;
        for round in 1_usize..=150 {
            let attempt = AttemptId(round as u128);
            let begun = IntentRow { from: revision, ..intent(&two, attempt) };
            assert_eq!(two.intent_open(GRANT, revision, begun).await.unwrap(), Write::Done(()));
            two.spill_create(GRANT, revision, attempt).await.unwrap();
            two.spill_write(GRANT, revision, attempt, answer(b"answer")).await.unwrap();
            assert_eq!(two.spill_read(GRANT, revision, attempt).await.unwrap().unwrap().body.as_slice(), b"answer");
            let secret = login(1000 + round);
            let commit = GrantCommit { grant: GRANT, from: revision, secret, expires_at: None, issued_at: NOW, attempt: Some(attempt) };
            assert_eq!(two.grant_commit(commit).await.unwrap(), Write::Done(revision.next()));
            two.spill_remove(attempt).await.unwrap();
            revision = revision.next();
            assert_eq!(two.load().await.unwrap().faults, []);
        }
    };
    let rotating = async {
        for _ in 0..100 {
            assert_eq!(one.data_key_rotate(NOW).await.unwrap().unopened, []);
        }
    };
    tokio::join!(refreshing, rotating);
    let last = one.data_key_rotate(NOW).await.unwrap();
    assert_eq!(last.kept, [], "once all refreshes have ended, no older key is needed");
    assert_eq!(contents(&one).await[&GRANT], (151, "at-1150".to_owned(), Some("rt-1150".to_owned())));
    claviger_testkit::proof_row("data key: 100 rotations beside 150 refreshes of another process", 250, 250, "0 unreadable");
}

#[tokio::test]
async fn a_rotation_that_fails_at_any_statement_goes_on_where_it_stopped() {
    let stops = [
        "BEFORE INSERT ON data_keys",
        "BEFORE UPDATE OF access_token ON grants WHEN NEW.id = 1",
        "BEFORE UPDATE OF refresh_token ON grants WHEN NEW.id = 16",
        "BEFORE UPDATE OF access_token ON grants WHEN NEW.id = 17",
        "BEFORE UPDATE OF refresh_token ON grants WHEN NEW.id = 40",
        "BEFORE UPDATE OF api_key ON grants",
        "BEFORE UPDATE ON hash_keys WHEN NEW.purpose = 'fingerprint'",
        "BEFORE UPDATE ON hash_keys WHEN NEW.purpose = 'virtual_key'",
        "BEFORE UPDATE OF resealed_at ON data_keys",
        "BEFORE DELETE ON data_keys",
    ];
    for stop in stops {
        let (site, store) = vault(40).await;
        let before = contents(&store).await;
        site.sql(&format!("CREATE TRIGGER stop {stop} BEGIN SELECT RAISE(ABORT, 'stopped'); END"));
        assert!(matches!(store.data_key_rotate(NOW).await, Err(StoreError::Database { .. })), "{stop}");
        let begun = !stop.contains("INSERT");
        assert_eq!(store.seal_status().await.unwrap().rotation_unfinished, begun, "{stop}");
        assert_eq!(contents(&store).await, before, "{stop}");
        store.close().await.unwrap();

        site.sql("DROP TRIGGER stop");
        let store = site.open();
        assert_eq!(contents(&store).await, before, "{stop}");
        let rotated = store.data_key_rotate(NOW).await.unwrap();
        assert_eq!((rotated.version, rotated.resumed, rotated.retired), (2, begun, vec![1]), "{stop}");
        assert_eq!(contents(&store).await, before, "{stop}");
        assert_eq!(versions(&store.seal_status().await.unwrap()), [2], "{stop}");
    }
    claviger_testkit::proof_row("data key: a rotation stopped at each of its statements", 10, 10, "0 unreadable");
}

/// The child: rotates until it is killed. Without its role it has nothing to do.
#[tokio::test]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "the parent names the child's part in the environment")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let (home, key) = role.split_once('|').unwrap();
    let root = claviger_store::RootKey::KeyFile { path: PathBuf::from(key) };
    let store = SqliteStore::open(home.as_ref(), &root, &claviger_testkit::SimClock::new()).unwrap();
    loop {
        let rotated = store.data_key_rotate(NOW).await.unwrap();
        println!("ROTATED {}", rotated.version);
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_while_it_rotates_harms_nothing() {
    const KILLS: u64 = 12;
    let (site, store) = vault(40).await;
    let mut revision = FIRST;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["rotation::child", "--exact", "--nocapture"])
            .env(ROLE, format!("{}|{}", site.home().display(), site.key_path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("ROTATED")), "the child rotates");
        // A different number of commits each time, so that the kill comes at another place of the next rotation.
        for n in 0..=kill {
            let secret = login(usize::try_from(10_000 + 100 * kill + n).unwrap());
            let commit = GrantCommit { grant: GRANT, from: revision, secret, expires_at: None, issued_at: NOW, attempt: None };
            assert_eq!(store.grant_commit(commit).await.unwrap(), Write::Done(revision.next()));
            revision = revision.next();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(contents(&store).await.len(), 41);
        assert_eq!(contents(&site.open()).await[&GRANT].0, revision.0);
    }
    store.data_key_rotate(NOW).await.unwrap();
    store.data_key_rotate(NOW).await.unwrap();
    assert_eq!(store.seal_status().await.unwrap().data_keys.len(), 1);
    claviger_testkit::proof_row("data key: kill -9 of a process that rotates it", KILLS, KILLS, "0 unreadable");
}

#[tokio::test]
async fn a_field_that_does_not_open_is_named_left_alone_and_keeps_its_key() {
    let (site, store) = vault(3).await;
    site.sql(
        "UPDATE grants SET access_token = CAST(substr(access_token, 1, 40) || x'00' || substr(access_token, 42) AS BLOB) WHERE id = 2",
    );
    let fault = RowFault { table: "grants", row: "2".to_owned(), column: "access_token", kind: RowFaultKind::Damaged };
    for version in 2..4 {
        let rotated = store.data_key_rotate(NOW).await.unwrap();
        assert_eq!((rotated.version, rotated.unopened), (version, vec![fault.clone()]));
        assert_eq!(rotated.kept.iter().map(|key| (key.version, key.fields)).collect::<Vec<_>>(), [(1, 1)]);
        assert!(!store.seal_status().await.unwrap().rotation_unfinished, "there is nothing more that it could do");
    }
    let vault = store.load().await.unwrap();
    assert_eq!((vault.grants.len(), vault.faults), (3, vec![fault]));
    place(&store, "2@x.example", login(22)).await;
    assert_eq!(store.data_key_rotate(NOW).await.unwrap().retired, [1, 3], "a new login heals the row");
}

#[tokio::test]
async fn a_malformed_row_does_not_stop_a_rotation() {
    let (site, store) = vault(40).await;
    site.sql("UPDATE grants SET origins = 'everywhere' WHERE id IN (3, 20)");
    let rotated = store.data_key_rotate(NOW).await.unwrap();
    let named: Vec<_> = rotated.unopened.iter().map(|fault| (fault.row.as_str(), fault.column)).collect();
    assert_eq!(named, [("3", "origins"), ("20", "origins")]);
    assert_eq!(rotated.kept.iter().map(|key| (key.version, key.fields)).collect::<Vec<_>>(), [(1, 4)]);
}

#[tokio::test]
async fn a_key_stays_while_an_answer_in_a_slot_needs_it() {
    let (site, store) = vault(1).await;
    store.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    store.spill_write(GRANT, FIRST, ATTEMPT, answer(CANARIES[1].as_bytes())).await.unwrap();
    store.spill_create(GRANT, FIRST, AttemptId(2)).await.unwrap();
    let rotated = store.data_key_rotate(NOW).await.unwrap();
    assert_eq!(rotated.kept.iter().map(|key| (key.version, key.fields, key.slots, key.refreshes)).collect::<Vec<_>>(), [(1, 0, 1, 0)]);
    for store in [&store, &site.open()] {
        let read = store.spill_read(GRANT, FIRST, ATTEMPT).await.unwrap().expect("it is there");
        assert_eq!(read.body.as_slice(), CANARIES[1].as_bytes());
    }
    store.spill_remove(ATTEMPT).await.unwrap();
    assert_eq!(store.data_key_rotate(NOW).await.unwrap().retired, [1, 2], "an empty slot needs no key");
}

#[tokio::test]
async fn a_key_stays_while_an_open_refresh_may_spill_under_it() {
    let (site, one) = vault(1).await;
    let two = site.open();
    let begun = intent(&two, ATTEMPT);
    two.intent_open(GRANT, FIRST, begun.clone()).await.unwrap();
    two.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    for _ in 0..2 {
        let kept = one.data_key_rotate(NOW).await.unwrap().kept;
        assert_eq!(kept.first().map(|key| (key.version, key.fields, key.slots, key.refreshes)), Some((1, 0, 0, 1)));
    }
    // A replay joins the intent, with the first attempt's answer still under way.
    one.intent_open(GRANT, FIRST, IntentRow { attempts: vec![AttemptId(2)], ..begun }).await.unwrap();
    // The other process has done nothing since: it seals under the key that it knows.
    two.spill_write(GRANT, FIRST, ATTEMPT, answer(b"late answer")).await.unwrap();
    assert_eq!(one.data_key_rotate(NOW).await.unwrap().kept[0].slots, 1);
    drop(two);
    let read = site.open().spill_read(GRANT, FIRST, ATTEMPT).await.unwrap().expect("it is there");
    assert_eq!(read.body.as_slice(), b"late answer");

    let commit = GrantCommit { grant: GRANT, from: FIRST, secret: login(2), expires_at: None, issued_at: NOW, attempt: Some(ATTEMPT) };
    assert_eq!(one.grant_commit(commit).await.unwrap(), Write::Done(GrantRevision(2)));
    one.spill_remove(ATTEMPT).await.unwrap();
    assert_eq!(one.data_key_rotate(NOW).await.unwrap().kept, []);
}

#[tokio::test]
async fn an_intent_of_before_the_versions_were_journalled_keeps_every_key() {
    let (site, store) = vault(1).await;
    store.intent_open(GRANT, FIRST, intent(&store, ATTEMPT)).await.unwrap();
    site.sql("UPDATE intents SET key_version = NULL");
    assert_eq!(store.data_key_rotate(NOW).await.unwrap().kept.len(), 1);
    assert_eq!(store.data_key_rotate(NOW).await.unwrap().kept.len(), 2);
}

#[tokio::test]
async fn an_answer_under_a_key_that_another_process_made_is_read() {
    let (site, one) = vault(1).await;
    let two = site.open();
    two.spill_create(GRANT, FIRST, ATTEMPT).await.unwrap();
    one.data_key_rotate(NOW).await.unwrap();
    one.spill_write(GRANT, FIRST, ATTEMPT, answer(b"answer")).await.unwrap();
    assert_eq!(two.spill_read(GRANT, FIRST, ATTEMPT).await.unwrap().expect("it is there").body.as_slice(), b"answer");
}

#[tokio::test]
async fn two_rotations_at_once_end_as_one_or_as_two_and_never_between() {
    let (site, one) = vault(40).await;
    let two = site.open();
    let before = contents(&one).await;
    let (first, second) = tokio::join!(one.data_key_rotate(NOW), two.data_key_rotate(NOW));
    let newest = first.unwrap().version.max(second.unwrap().version);
    assert_eq!(contents(&one).await, before);
    let status = one.seal_status().await.unwrap();
    assert_eq!(versions(&status), [newest]);
    assert!(!status.rotation_unfinished);
}

#[tokio::test]
async fn no_secret_stands_in_the_file_after_a_rotation() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    place(&store, "b@x.example", api_key()).await;
    let rotated = store.data_key_rotate(NOW).await.unwrap();
    let printed = format!("{rotated:?} {:?} {:?}", store.seal_status().await.unwrap(), store.recovery_secret().await.unwrap());
    assert_eq!(claviger_testkit::leak::canary_search(printed.as_bytes(), &CANARIES), []);
    assert!(printed.contains("RootSecret") && !printed.contains(&format!("{:?}", store.recovery_secret().await.unwrap().1.expose())));
    for name in ["vault.db", "vault.db-wal"] {
        assert_eq!(claviger_testkit::leak::canary_search(&std::fs::read(site.home().join(name)).unwrap(), &CANARIES), []);
    }
}
