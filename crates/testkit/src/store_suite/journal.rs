//! Promises about the journal: intents, commits, burials.

use super::{account, commit, draft, email, grant, intent, later, oauth, place, place_first, texts, version};
use claviger_domain::credential::{Custody, GrantState};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision, InstanceId, RowRevision};
use claviger_store::{APPLIED_REMEMBERED, GrantCommit, IntentRow, Store, Write};

const FIRST: GrantRevision = GrantRevision::FIRST;

pub async fn an_intent_is_read_back_and_joined_by_a_second_attempt(store: &dyn Store) {
    let placed = place_first(store).await;
    assert_eq!(store.intent_open(placed.grant, FIRST, intent(store, FIRST, 9)).await.unwrap(), Write::Done(()));
    let second = IntentRow { instance: InstanceId(8), opened_at: later(5), ..intent(store, FIRST, 3) };
    assert_eq!(store.intent_open(placed.grant, FIRST, second.clone()).await.unwrap(), Write::Done(()));
    assert_eq!(store.intent_open(placed.grant, FIRST, second).await.unwrap(), Write::Done(()));
    let expected = IntentRow { attempts: vec![AttemptId(9), AttemptId(3)], instance: InstanceId(8), ..intent(store, FIRST, 9) };
    assert_eq!(grant(store, placed.grant).await.intent, Some(expected.clone()));
    assert_eq!(store.load().await.unwrap().grants[0].intent, Some(expected));
}

pub async fn an_intent_for_another_revision_is_stale(store: &dyn Store) {
    let placed = place_first(store).await;
    let other = GrantRevision(2);
    assert_eq!(store.intent_open(placed.grant, other, intent(store, other, 1)).await.unwrap(), Write::Stale);
    assert_eq!(store.intent_open(GrantId(99), FIRST, intent(store, FIRST, 1)).await.unwrap(), Write::Stale);
    assert_eq!(grant(store, placed.grant).await.intent, None);
}

pub async fn an_intent_closes_with_its_last_attempt(store: &dyn Store) {
    let placed = place_first(store).await;
    for attempt in [1, 2] {
        store.intent_open(placed.grant, FIRST, intent(store, FIRST, attempt)).await.unwrap();
    }
    assert_eq!(store.intent_withdraw(placed.grant, FIRST, AttemptId(7)).await.unwrap(), Write::Stale);
    assert_eq!(store.intent_withdraw(placed.grant, GrantRevision(2), AttemptId(1)).await.unwrap(), Write::Stale);
    assert_eq!(store.intent_withdraw(placed.grant, FIRST, AttemptId(1)).await.unwrap(), Write::Done(()));
    assert_eq!(grant(store, placed.grant).await.intent.unwrap().attempts, [AttemptId(2)]);
    assert_eq!(store.intent_withdraw(placed.grant, FIRST, AttemptId(2)).await.unwrap(), Write::Done(()));
    assert_eq!(grant(store, placed.grant).await.intent, None);
    assert_eq!(store.intent_withdraw(placed.grant, FIRST, AttemptId(2)).await.unwrap(), Write::Stale);
}

pub async fn an_attempt_that_was_withdrawn_is_done_with(store: &dyn Store) {
    let placed = place_first(store).await;
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    assert!(!store.attempt_applied(AttemptId(1)).await.unwrap());
    store.intent_withdraw(placed.grant, FIRST, AttemptId(1)).await.unwrap();
    assert!(store.attempt_applied(AttemptId(1)).await.unwrap());
}

pub async fn a_commit_is_done_with_every_attempt_of_its_intent(store: &dyn Store) {
    let placed = place_first(store).await;
    for attempt in [1, 2] {
        store.intent_open(placed.grant, FIRST, intent(store, FIRST, attempt)).await.unwrap();
    }
    store.grant_commit(commit(placed.grant, 1, oauth("at-2", Some("rt-2")), Some(2))).await.unwrap();
    assert!(store.attempt_applied(AttemptId(1)).await.unwrap());
    assert!(store.attempt_applied(AttemptId(2)).await.unwrap());
}

pub async fn open_attempts_are_known_also_where_no_account_needs_the_grant(store: &dyn Store) {
    let placed = place_first(store).await;
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    store.account_remove(placed.account, RowRevision::FIRST).await.unwrap();
    assert_eq!(store.attempts_open().await.unwrap(), [AttemptId(1)].into());
    store.intent_withdraw(placed.grant, FIRST, AttemptId(1)).await.unwrap();
    assert_eq!(store.attempts_open().await.unwrap(), [].into());
}

pub async fn a_commit_moves_the_revision_and_closes_the_intent(store: &dyn Store) {
    let placed = place_first(store).await;
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    let row_revision = account(store, placed.account).await.unwrap().revision;
    let done = store.grant_commit(commit(placed.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    assert_eq!(done, Write::Done(GrantRevision(2)));
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.revision, row.intent), (("at-2", Some("rt-2")), GrantRevision(2), None));
    assert_eq!((row.expires_at, row.issued_at, row.state), (Some(later(7200)), later(60), GrantState::Live));
    assert_eq!(row.fingerprint, store.fingerprint("rt-2"));
    assert_eq!(account(store, placed.account).await.unwrap().revision, row_revision, "the account's row has not changed");
}

pub async fn a_commit_without_a_refresh_token_keeps_the_old_one(store: &dyn Store) {
    let placed = place_first(store).await;
    store.grant_commit(commit(placed.grant, 1, oauth("at-2", None), Some(1))).await.unwrap();
    let row = grant(store, placed.grant).await;
    assert_eq!(texts(&row.secret), ("at-2", Some("rt-1")));
    assert_eq!(row.fingerprint, store.fingerprint("rt-1"));
}

pub async fn a_followed_file_means_what_it_says(store: &dyn Store) {
    let mut given = draft(email("a@x.example"), oauth("at-1", Some("rt-1")));
    given.grant.custody = Custody::Followed { path: "/x".into() };
    let placed = place(store, given).await;
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    store.grant_commit(commit(placed.grant, 1, oauth("at-2", None), None)).await.unwrap();
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.intent), (("at-2", None), None));
    assert_eq!(row.fingerprint, store.fingerprint("at-2"));
}

pub async fn a_stale_commit_writes_nothing(store: &dyn Store) {
    let placed = place_first(store).await;
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    let before = version(store).await;
    assert_eq!(store.grant_commit(commit(placed.grant, 2, oauth("at-x", Some("rt-x")), Some(1))).await.unwrap(), Write::Stale);
    assert_eq!(store.grant_commit(commit(GrantId(99), 1, oauth("at-x", Some("rt-x")), Some(1))).await.unwrap(), Write::Stale);
    assert_eq!(store.grant_bury(placed.grant, GrantRevision(2), "x".to_owned(), later(1)).await.unwrap(), Write::Stale);
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.revision, row.state), (("at-1", Some("rt-1")), FIRST, GrantState::Live));
    assert!(row.intent.is_some());
    assert!(!store.attempt_applied(AttemptId(1)).await.unwrap());
    assert_eq!(version(store).await, before);
}

pub async fn of_many_commits_of_one_revision_one_wins(store: &dyn Store) {
    let placed = place_first(store).await;
    let try_one = |n: u128| store.grant_commit(commit(placed.grant, 1, oauth(&format!("at-{n}"), Some(&format!("rt-{n}"))), Some(n)));
    let (a, b, c, d) = tokio::join!(try_one(10), try_one(11), try_one(12), try_one(13));
    let ends = [a, b, c, d].map(Result::unwrap);
    assert_eq!(ends.iter().filter(|end| **end == Write::Done(GrantRevision(2))).count(), 1);
    assert_eq!(ends.iter().filter(|end| **end == Write::Stale).count(), 3);
    assert_eq!(grant(store, placed.grant).await.revision, GrantRevision(2));
}

pub async fn a_grant_that_was_buried_needs_a_login_and_has_no_intent(store: &dyn Store) {
    let placed = place_first(store).await;
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    assert_eq!(store.grant_bury(placed.grant, FIRST, "invalid_grant".to_owned(), later(9)).await.unwrap(), Write::Done(()));
    let row = grant(store, placed.grant).await;
    assert_eq!(row.state, GrantState::NeedsLogin { cause: "invalid_grant".to_owned(), since: later(9) });
    assert_eq!((row.intent, row.revision), (None, FIRST));
    assert_eq!(texts(&row.secret), ("at-1", Some("rt-1")), "nothing is deleted as a reaction");
}

pub async fn an_applied_attempt_is_remembered_for_a_month(store: &dyn Store) {
    let placed = place_first(store).await;
    store.grant_commit(commit(placed.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    assert!(store.attempt_applied(AttemptId(1)).await.unwrap());
    assert!(!store.attempt_applied(AttemptId(2)).await.unwrap());
    let at_the_edge = later(60).plus(APPLIED_REMEMBERED);
    let second = GrantCommit { issued_at: at_the_edge, ..commit(placed.grant, 2, oauth("at-3", Some("rt-3")), Some(2)) };
    store.grant_commit(second).await.unwrap();
    assert!(store.attempt_applied(AttemptId(1)).await.unwrap());
    let past = at_the_edge.plus(std::time::Duration::from_millis(1));
    let third = GrantCommit { issued_at: past, ..commit(placed.grant, 3, oauth("at-4", Some("rt-4")), Some(3)) };
    store.grant_commit(third).await.unwrap();
    assert!(!store.attempt_applied(AttemptId(1)).await.unwrap());
    assert!(store.attempt_applied(AttemptId(2)).await.unwrap());
}

pub async fn a_commit_meets_another_grant_with_its_new_token(store: &dyn Store) {
    let ours = place_first(store).await;
    let twin = place(store, draft(email("b@x.example"), oauth("at-b", Some("rt-2")))).await;
    store.intent_open(twin.grant, FIRST, intent(store, FIRST, 5)).await.unwrap();
    let refused = store.grant_commit(commit(ours.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    assert_eq!(refused, Write::Stale, "the twin's own refresh is open: it decides");
    assert_eq!(texts(&grant(store, ours.grant).await.secret), ("at-1", Some("rt-1")));

    store.intent_withdraw(twin.grant, FIRST, AttemptId(5)).await.unwrap();
    let done = store.grant_commit(commit(ours.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    assert_eq!(done, Write::Done(GrantRevision(2)));
    assert!(store.grant_load(twin.grant).await.unwrap().is_none());
    assert_eq!(account(store, twin.account).await.unwrap().grant, ours.grant);
    assert_eq!(texts(&grant(store, ours.grant).await.secret), ("at-2", Some("rt-2")));
}
