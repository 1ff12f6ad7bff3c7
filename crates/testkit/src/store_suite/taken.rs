//! Promises about logins that were taken over from another tool.

use super::{account, commit, draft, email, grant, intent, later, oauth, place, texts};
use claviger_domain::credential::{Custody, GrantState};
use claviger_domain::id::{GrantId, GrantRevision};
use claviger_store::{GrantSecret, GrantTake, Placed, Store, Take, TakenRow, Write};

const FIRST: GrantRevision = GrantRevision::FIRST;

async fn followed(store: &dyn Store) -> Placed {
    let mut given = draft(email("a@x.example"), oauth("at-1", None));
    given.grant.custody = Custody::Followed { path: "/x".into() };
    place(store, given).await
}

fn take(grant: GrantId, from: u64, secret: GrantSecret) -> GrantTake {
    GrantTake { grant, from: GrantRevision(from), secret, expires_at: Some(later(3600)), taken_at: later(5), path: "/x".into() }
}

pub async fn a_login_that_is_taken_over_is_ours_with_its_refresh_token(store: &dyn Store) {
    let placed = followed(store).await;
    store.grant_bury(placed.grant, FIRST, "refused".to_owned(), later(1)).await.unwrap();
    assert_eq!(store.taken_list().await.unwrap(), []);
    let taken = store.grant_take(take(placed.grant, 1, oauth("at-2", Some("rt-2")))).await.unwrap();
    assert_eq!(taken, Take::Done(GrantRevision(2)));
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.custody, row.state), (("at-2", Some("rt-2")), Custody::Owned, GrantState::Live));
    assert_eq!((row.fingerprint, row.expires_at, row.issued_at), (store.fingerprint("rt-2"), Some(later(3600)), later(5)));
    let known = TakenRow { grant: placed.grant, path: "/x".into(), fingerprint: store.fingerprint("rt-2"), taken_at: later(5) };
    assert_eq!(store.taken_list().await.unwrap(), std::slice::from_ref(&known));
    // A refresh moves the grant on; what was taken stays known.
    store.intent_open(placed.grant, GrantRevision(2), intent(store, GrantRevision(2), 1)).await.unwrap();
    store.grant_commit(commit(placed.grant, 2, oauth("at-3", Some("rt-3")), Some(1))).await.unwrap();
    assert_eq!(store.taken_list().await.unwrap(), [known]);
}

pub async fn a_login_is_taken_again_where_its_tool_has_renewed_it(store: &dyn Store) {
    let placed = followed(store).await;
    store.grant_take(take(placed.grant, 1, oauth("at-2", Some("rt-2")))).await.unwrap();
    store.intent_open(placed.grant, GrantRevision(2), intent(store, GrantRevision(2), 1)).await.unwrap();
    let again = store.grant_take(take(placed.grant, 2, oauth("at-3", Some("rt-3")))).await.unwrap();
    assert_eq!(again, Take::Done(GrantRevision(3)));
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.intent), (("at-3", Some("rt-3")), None));
    assert_eq!(store.taken_list().await.unwrap()[0].fingerprint, store.fingerprint("rt-3"));
    // The token whose fate nobody knew is never taken again.
    let back = store.grant_take(take(placed.grant, 3, oauth("at-2", Some("rt-2")))).await.unwrap();
    assert_eq!(back, Take::Spent);
    assert_eq!(texts(&grant(store, placed.grant).await.secret), ("at-3", Some("rt-3")));
}

pub async fn a_stale_take_writes_nothing(store: &dyn Store) {
    let placed = followed(store).await;
    store.grant_commit(commit(placed.grant, 1, oauth("at-2", None), None)).await.unwrap();
    assert_eq!(store.grant_take(take(placed.grant, 1, oauth("at-1", Some("rt-1")))).await.unwrap(), Take::Stale);
    assert_eq!(store.grant_take(take(GrantId(99), 1, oauth("at-1", Some("rt-1")))).await.unwrap(), Take::Stale);
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.custody), (("at-2", None), Custody::Followed { path: "/x".into() }));
    assert_eq!(store.taken_list().await.unwrap(), []);
}

pub async fn a_new_login_or_a_removal_forgets_what_was_taken(store: &dyn Store) {
    let placed = followed(store).await;
    store.grant_take(take(placed.grant, 1, oauth("at-2", Some("rt-2")))).await.unwrap();
    place(store, draft(email("a@x.example"), oauth("at-4", Some("rt-4")))).await;
    assert_eq!(store.taken_list().await.unwrap(), []);
    let row = grant(store, placed.grant).await;
    store.grant_take(take(placed.grant, row.revision.0, oauth("at-5", Some("rt-5")))).await.unwrap();
    let revision = account(store, placed.account).await.unwrap().revision;
    assert_eq!(store.account_remove(placed.account, revision).await.unwrap(), Write::Done(()));
    assert_eq!(store.taken_list().await.unwrap(), []);
}

pub async fn a_login_that_came_in_by_another_way_is_one_with_what_is_taken(store: &dyn Store) {
    let other = place(store, draft(email("b@x.example"), oauth("at-1", Some("rt-1")))).await;
    let placed = followed(store).await;
    let taken = store.grant_take(take(placed.grant, 1, oauth("at-2", Some("rt-1")))).await.unwrap();
    assert_eq!(taken, Take::Done(GrantRevision(2)));
    assert_eq!(account(store, other.account).await.unwrap().grant, placed.grant);
    assert!(store.grant_load(other.grant).await.unwrap().is_none());
}
