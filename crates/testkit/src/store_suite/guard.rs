//! Promises about rebinding and quarantine.

use super::{account, api_key, commit, draft, email, grant, intent, later, oauth, place, place_first, texts, version};
use claviger_domain::credential::GrantState;
use claviger_domain::id::{GrantId, GrantRevision};
use claviger_domain::origin::{Origins, StoredOrigins};
use claviger_store::{Rebind, Store, Write};
use std::collections::BTreeSet;

const FIRST: GrantRevision = GrantRevision::FIRST;

fn elsewhere() -> StoredOrigins {
    let set = BTreeSet::from(["https://elsewhere.example".parse().unwrap()]);
    StoredOrigins::Explicit(Origins { inference: set.clone(), usage: BTreeSet::new(), token: set })
}

pub async fn a_rebound_secret_is_the_same_under_the_next_revision(store: &dyn Store) {
    let placed = place_first(store).await;
    store.grant_bury(placed.grant, FIRST, "refused".to_owned(), later(1)).await.unwrap();
    let (before, row_revision) = (version(store).await, account(store, placed.account).await.unwrap().revision);
    assert_eq!(store.grant_rebind(placed.grant, FIRST, elsewhere()).await.unwrap(), Rebind::Done(GrantRevision(2)));
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.revision, &row.origins), (("at-1", Some("rt-1")), GrantRevision(2), &elsewhere()));
    assert_eq!((row.expires_at, row.issued_at, row.fingerprint), (Some(later(3600)), later(0), store.fingerprint("rt-1")));
    assert!(matches!(row.state, GrantState::NeedsLogin { .. }), "a dead grant stays dead");
    assert_ne!(version(store).await, before);
    assert_eq!(account(store, placed.account).await.unwrap().revision, row_revision);
    assert_eq!(
        store.grant_commit(commit(placed.grant, 1, oauth("at-x", Some("rt-x")), Some(1))).await.unwrap(),
        Write::Stale,
        "what was begun under the old revision is superseded"
    );
    let done = store.grant_commit(commit(placed.grant, 2, oauth("at-2", Some("rt-2")), Some(2))).await.unwrap();
    assert_eq!(done, Write::Done(GrantRevision(3)));
    assert_eq!(grant(store, placed.grant).await.origins, elsewhere(), "a refreshed secret keeps the origins");
}

pub async fn a_rebind_with_an_open_intent_or_of_an_older_revision_writes_nothing(store: &dyn Store) {
    let placed = place_first(store).await;
    assert_eq!(store.grant_rebind(GrantId(99), FIRST, elsewhere()).await.unwrap(), Rebind::Stale);
    assert_eq!(store.grant_rebind(placed.grant, GrantRevision(2), elsewhere()).await.unwrap(), Rebind::Stale);
    store.intent_open(placed.grant, FIRST, intent(store, FIRST, 1)).await.unwrap();
    let before = version(store).await;
    assert_eq!(store.grant_rebind(placed.grant, FIRST, elsewhere()).await.unwrap(), Rebind::Busy);
    let row = grant(store, placed.grant).await;
    assert_eq!((row.revision, row.origins), (FIRST, StoredOrigins::Builtin));
    assert_eq!(version(store).await, before);
}

pub async fn a_key_is_rebound_as_a_login_is(store: &dyn Store) {
    let placed = place(store, draft(email("a@x.example"), api_key("sk-test-1"))).await;
    assert_eq!(store.grant_rebind(placed.grant, FIRST, elsewhere()).await.unwrap(), Rebind::Done(GrantRevision(2)));
    assert_eq!(store.grant_rebind(placed.grant, GrantRevision(2), StoredOrigins::Builtin).await.unwrap(), Rebind::Done(GrantRevision(3)));
    let row = grant(store, placed.grant).await;
    assert_eq!((texts(&row.secret), row.revision, row.origins), (("sk-test-1", None), GrantRevision(3), StoredOrigins::Builtin));
}

pub async fn a_grant_that_is_not_quarantined_is_not_released(store: &dyn Store) {
    let placed = place_first(store).await;
    let before = version(store).await;
    assert_eq!(grant(store, placed.grant).await.quarantined, None);
    assert_eq!(store.grant_release(placed.grant).await.unwrap(), Write::Stale);
    assert_eq!(store.grant_release(GrantId(99)).await.unwrap(), Write::Stale);
    assert_eq!(version(store).await, before);
}
