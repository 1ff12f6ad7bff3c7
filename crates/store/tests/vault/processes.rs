//! Several stores on one vault, as several processes have it.

use crate::{CANARIES, FIRST, GRANT, Site, oauth, place, text, texts};
use claviger_domain::id::{AttemptId, GrantRevision, InstanceId};
use claviger_store::{GrantCommit, GrantSecret, IntentRow, Store, Write};
use std::sync::Arc;

fn commit(from: GrantRevision, n: usize) -> GrantCommit {
    let secret = GrantSecret::OAuth { access: text(&format!("at-{n}")), refresh: Some(text(&format!("rt-{n}"))) };
    GrantCommit { grant: GRANT, from, secret, expires_at: None, issued_at: crate::NOW, attempt: None }
}

#[tokio::test]
async fn two_stores_see_each_other_by_their_version() {
    let site = Site::new();
    let (one, two) = (site.create(), site.open());
    let before = two.version().await.unwrap();
    assert_eq!(one.version().await.unwrap(), before);
    let login = place(&one, "a@x.example", oauth()).await;
    let after = two.version().await.unwrap();
    assert!(after > before);
    assert_eq!(one.version().await.unwrap(), after);
    assert_eq!(texts(&two.grant_load(login.grant).await.unwrap().unwrap()).0, CANARIES[0]);
    two.grant_commit(commit(FIRST, 2)).await.unwrap();
    assert!(one.version().await.unwrap() > after);
    assert_eq!(one.grant_commit(commit(FIRST, 3)).await.unwrap(), Write::Stale, "the other process was first");
    assert_eq!(texts(&one.grant_load(login.grant).await.unwrap().unwrap()), ("at-2", Some("rt-2")));
}

#[tokio::test]
async fn an_intent_of_one_store_is_seen_by_the_other() {
    let site = Site::new();
    let (one, two) = (site.create(), site.open());
    place(&one, "a@x.example", oauth()).await;
    let intent = IntentRow {
        from: FIRST,
        fingerprint: one.fingerprint("rt-1"),
        attempts: vec![AttemptId(1)],
        instance: InstanceId(1),
        opened_at: crate::NOW,
    };
    one.intent_open(GRANT, FIRST, intent.clone()).await.unwrap();
    assert_eq!(two.grant_load(GRANT).await.unwrap().unwrap().intent, Some(intent));
}

#[tokio::test]
async fn a_lock_of_one_store_excludes_the_other() {
    let site = Site::new();
    let (one, two) = (site.create(), site.open());
    let held = one.grant_lock(GRANT).unwrap().expect("nobody holds it");
    assert!(two.grant_lock(GRANT).unwrap().is_none());
    assert!(one.grant_lock(GRANT).unwrap().is_none());
    one.close().await.unwrap();
    assert!(two.grant_lock(GRANT).unwrap().is_none(), "the lock is its holder's, not its store's");
    drop(held);
    assert!(two.grant_lock(GRANT).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twelve_stores_that_write_at_once_lose_nothing() {
    let site = Site::new();
    let stores: Vec<_> = std::iter::once(site.create()).chain((1..12).map(|_| site.open())).map(Arc::new).collect();
    place(&stores[0], "a@x.example", oauth()).await;
    for round in 1..=5 {
        let from = GrantRevision(round);
        let mut tries = tokio::task::JoinSet::new();
        for (n, store) in stores.iter().enumerate() {
            let store = Arc::clone(store);
            tries.spawn(async move { store.grant_commit(commit(from, 100 * n)).await.unwrap() });
        }
        let ends = tries.join_all().await;
        assert_eq!(ends.iter().filter(|end| **end == Write::Done(from.next())).count(), 1);
        assert_eq!(ends.iter().filter(|end| **end == Write::Stale).count(), 11);
    }
    for store in &stores {
        assert_eq!(store.grant_load(GRANT).await.unwrap().unwrap().revision, GrantRevision(6));
    }
}

#[test]
fn of_two_that_create_a_vault_one_wins_and_the_other_is_told() {
    let site = Site::new();
    let ends: Vec<bool> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| claviger_store::SqliteStore::create(&site.home(), &site.root(), &claviger_testkit::SimClock::new()).is_ok())
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(ends.into_iter().filter(|won| *won).count(), 1);
    assert!(site.try_open().is_ok());
    let names: Vec<_> = std::fs::read_dir(site.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains(".new-")), "{names:?}");
}
