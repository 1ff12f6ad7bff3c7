//! Promises about placing accounts: who is the same account, and what becomes of its grant.

use super::{account, api_key, commit, draft, email, grant, intent, later, oauth, place, place_first, provider, texts, version};
use claviger_domain::credential::{Custody, GrantState, Source, Standing};
use claviger_domain::id::{GrantRevision, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::origin::{Origins, StoredOrigins};
use claviger_store::{AccountDraft, GrantDraft, PlacedOutcome, Store, Write};
use std::collections::BTreeSet;

fn explicit(origin: &str) -> StoredOrigins {
    let set = BTreeSet::from([origin.parse().unwrap()]);
    StoredOrigins::Explicit(Origins { inference: set.clone(), usage: BTreeSet::new(), token: set })
}

pub async fn an_account_is_loaded_as_it_was_placed(store: &dyn Store) {
    let identity = Identity {
        account_id: Some("w1".to_owned()),
        email: Some(" A@X.example".to_owned()),
        org_id: Some("o1".to_owned()),
        org_name: Some("Org".to_owned()),
        project_id: Some("p1".to_owned()),
        enterprise_url: Some("Tenant.example".to_owned()),
        api_endpoint: Some("https://api.tenant.example".to_owned()),
    };
    let standing = Standing::Disabled { cause: "by the importer".to_owned(), since: later(1) };
    let mut given = draft(identity.clone(), oauth("at-1", Some("rt-1")));
    (given.source, given.label, given.standing) = (Source::Imported, Some("work".to_owned()), standing.clone());
    (given.grant.origins, given.grant.custody) = (explicit("http://127.0.0.1:9"), Custody::Followed { path: "/tmp/ä b".into() });
    let placed = place(store, given).await;
    assert_eq!(placed.outcome, PlacedOutcome::Created);

    let vault = store.load().await.unwrap();
    assert_eq!((vault.accounts.len(), vault.grants.len(), vault.faults.len()), (1, 1, 0));
    let row = &vault.accounts[0];
    assert_eq!((row.id, row.grant, row.revision, row.provider.clone()), (placed.account, placed.grant, RowRevision::FIRST, provider()));
    assert_eq!((&row.identity, row.source, row.priority), (&identity.normalized(), Source::Imported, 0));
    assert_eq!((row.label.as_deref(), &row.standing), (Some("work"), &standing));
    let loaded = grant(store, placed.grant).await;
    for row in [&vault.grants[0], &loaded] {
        assert_eq!(texts(&row.secret), ("at-1", Some("rt-1")));
        assert_eq!((row.id, row.revision, &row.state, &row.intent), (placed.grant, GrantRevision::FIRST, &GrantState::Live, &None));
        assert_eq!((row.expires_at, row.issued_at), (Some(later(3600)), later(0)));
        assert_eq!((&row.origins, &row.custody), (&explicit("http://127.0.0.1:9"), &Custody::Followed { path: "/tmp/ä b".into() }));
        assert_eq!(row.fingerprint, store.fingerprint("rt-1"));
    }
    let key = place(store, draft(Identity::default(), api_key("sk-test-1"))).await;
    assert_eq!(texts(&grant(store, key.grant).await.secret), ("sk-test-1", None));
    assert!(store.grant_load(claviger_domain::id::GrantId(99)).await.unwrap().is_none());
}

pub async fn the_same_secret_again_changes_nothing(store: &dyn Store) {
    let first = place_first(store).await;
    let before = version(store).await;
    let again = place_first(store).await;
    assert_eq!((again.account, again.grant, again.outcome), (first.account, first.grant, PlacedOutcome::Unchanged));
    assert_eq!(version(store).await, before);
}

pub async fn a_new_login_replaces_the_secret_in_place(store: &dyn Store) {
    let first = place_first(store).await;
    store.grant_bury(first.grant, GrantRevision::FIRST, "refused".to_owned(), later(1)).await.unwrap();
    let mut given = draft(email("A@x.example"), oauth("at-9", Some("rt-9")));
    given.label = Some("mine".to_owned());
    let again = place(store, given).await;
    assert_eq!((again.account, again.grant, again.outcome), (first.account, first.grant, PlacedOutcome::Updated));
    let row = grant(store, first.grant).await;
    assert_eq!((texts(&row.secret), row.revision, row.state), (("at-9", Some("rt-9")), GrantRevision(2), GrantState::Live));
    assert_eq!(row.fingerprint, store.fingerprint("rt-9"));
    assert_eq!(account(store, first.account).await.unwrap().label.as_deref(), Some("mine"));
    let unlabelled = place(store, draft(email("a@x.example"), oauth("at-10", Some("rt-10")))).await;
    assert_eq!(account(store, unlabelled.account).await.unwrap().label.as_deref(), Some("mine"), "no label keeps the one that is there");
}

pub async fn one_secret_under_two_identities_is_one_grant(store: &dyn Store) {
    let first = place_first(store).await;
    let second = place(store, draft(email("b@x.example"), oauth("at-1", Some("rt-1")))).await;
    assert_eq!((second.grant, second.outcome), (first.grant, PlacedOutcome::Created));
    assert_ne!(second.account, first.account);
    assert_eq!(store.load().await.unwrap().grants.len(), 1);
}

pub async fn a_new_login_of_one_sharer_leaves_the_other_alone(store: &dyn Store) {
    let first = place_first(store).await;
    let second = place(store, draft(email("b@x.example"), oauth("at-1", Some("rt-1")))).await;
    let moved = place(store, draft(email("b@x.example"), oauth("at-2", Some("rt-2")))).await;
    assert_eq!((moved.account, moved.outcome), (second.account, PlacedOutcome::Updated));
    assert_ne!(moved.grant, first.grant);
    assert_eq!(texts(&grant(store, first.grant).await.secret), ("at-1", Some("rt-1")));
    assert_eq!(account(store, first.account).await.unwrap().grant, first.grant);
    assert_eq!(account(store, second.account).await.unwrap().grant, moved.grant);
}

pub async fn the_last_sharer_to_leave_a_grant_takes_it_away(store: &dyn Store) {
    let first = place_first(store).await;
    place(store, draft(email("b@x.example"), oauth("at-1", Some("rt-1")))).await;
    let moved = place(store, draft(email("b@x.example"), oauth("at-2", Some("rt-2")))).await;
    let followed = place(store, draft(email("a@x.example"), oauth("at-2", Some("rt-2")))).await;
    assert_eq!((followed.account, followed.grant), (first.account, moved.grant));
    assert!(store.grant_load(first.grant).await.unwrap().is_none());
    assert_eq!(store.load().await.unwrap().accounts.len(), 2);
}

pub async fn an_account_without_identity_is_known_by_its_secret(store: &dyn Store) {
    let nobody = place(store, draft(Identity::default(), api_key("sk-test-1"))).await;
    let again = place(store, draft(Identity::default(), api_key("sk-test-1"))).await;
    assert_eq!((again.account, again.outcome), (nobody.account, PlacedOutcome::Unchanged));
    let other = place(store, draft(Identity::default(), api_key("sk-test-2"))).await;
    assert_ne!(other.account, nobody.account);
    let learned = place(store, draft(email("a@x.example"), api_key("sk-test-1"))).await;
    assert_eq!((learned.account, learned.outcome), (nobody.account, PlacedOutcome::Updated));
    let forgot = place(store, draft(Identity::default(), api_key("sk-test-1"))).await;
    assert_eq!((forgot.account, forgot.outcome), (nobody.account, PlacedOutcome::Unchanged));
    assert_eq!(account(store, nobody.account).await.unwrap().identity.email.as_deref(), Some("a@x.example"));
}

pub async fn one_secret_at_two_providers_is_two_grants(store: &dyn Store) {
    let here = place_first(store).await;
    let there = AccountDraft { provider: ProviderId::new("other").unwrap(), ..draft(email("a@x.example"), oauth("at-1", Some("rt-1"))) };
    let there = place(store, there).await;
    assert_ne!((there.account, there.grant), (here.account, here.grant));
}

pub async fn the_same_refresh_token_never_closes_an_open_intent(store: &dyn Store) {
    let first = place_first(store).await;
    store.intent_open(first.grant, GrantRevision::FIRST, intent(store, GrantRevision::FIRST, 1)).await.unwrap();
    let again = place(store, draft(email("a@x.example"), oauth("at-other", Some("rt-1")))).await;
    assert_eq!(again.outcome, PlacedOutcome::Unchanged);
    let row = grant(store, first.grant).await;
    assert_eq!((texts(&row.secret), row.revision), (("at-1", Some("rt-1")), GrantRevision::FIRST));
    assert!(row.intent.is_some());
}

pub async fn another_access_token_of_the_same_login_moves_the_revision(store: &dyn Store) {
    let first = place_first(store).await;
    let again = place(store, draft(email("a@x.example"), oauth("at-2", Some("rt-1")))).await;
    assert_eq!((again.grant, again.outcome), (first.grant, PlacedOutcome::Updated));
    let row = grant(store, first.grant).await;
    assert_eq!((texts(&row.secret), row.revision), (("at-2", Some("rt-1")), GrantRevision(2)));
}

pub async fn a_new_login_closes_an_open_intent(store: &dyn Store) {
    let first = place_first(store).await;
    store.intent_open(first.grant, GrantRevision::FIRST, intent(store, GrantRevision::FIRST, 1)).await.unwrap();
    place(store, draft(email("a@x.example"), oauth("at-2", Some("rt-2")))).await;
    assert_eq!(grant(store, first.grant).await.intent, None);
    let late = store.grant_commit(commit(first.grant, 1, oauth("at-late", Some("rt-late")), Some(1))).await.unwrap();
    assert_eq!(late, Write::Stale, "the answer to the old refresh token comes too late");
}

pub async fn a_refresh_token_that_was_redeemed_here_never_comes_back(store: &dyn Store) {
    let first = place_first(store).await;
    store.grant_commit(commit(first.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    // The file that it was imported from still has what it had.
    let again = place_first(store).await;
    assert_eq!((again.account, again.grant, again.outcome), (first.account, first.grant, PlacedOutcome::Unchanged));
    let row = grant(store, first.grant).await;
    assert_eq!((texts(&row.secret), row.revision), (("at-2", Some("rt-2")), GrantRevision(2)));
    // What the other tool got by itself in the meantime is new.
    let newer = place(store, draft(email("a@x.example"), oauth("at-7", Some("rt-7")))).await;
    assert_eq!((newer.grant, newer.outcome), (first.grant, PlacedOutcome::Updated));
    assert_eq!(texts(&grant(store, first.grant).await.secret), ("at-7", Some("rt-7")));
}

pub async fn a_redeemed_refresh_token_of_a_removed_account_needs_a_login(store: &dyn Store) {
    let first = place_first(store).await;
    store.grant_commit(commit(first.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    store.account_remove(first.account, RowRevision::FIRST).await.unwrap();
    for outcome in [PlacedOutcome::Created, PlacedOutcome::Unchanged] {
        let again = place_first(store).await;
        assert_eq!(again.outcome, outcome);
        assert!(matches!(grant(store, again.grant).await.state, GrantState::NeedsLogin { .. }));
    }
    let other_access = place(store, draft(email("a@x.example"), oauth("at-other", Some("rt-1")))).await;
    assert!(matches!(grant(store, other_access.grant).await.state, GrantState::NeedsLogin { .. }));
}

pub async fn a_token_that_may_have_been_redeemed_never_comes_back(store: &dyn Store) {
    let first = place_first(store).await;
    store.intent_open(first.grant, GrantRevision::FIRST, intent(store, GrantRevision::FIRST, 1)).await.unwrap();
    place(store, draft(email("a@x.example"), oauth("at-9", Some("rt-9")))).await;
    let again = place_first(store).await;
    assert_eq!(again.outcome, PlacedOutcome::Unchanged);
    assert_eq!(texts(&grant(store, first.grant).await.secret), ("at-9", Some("rt-9")));
    // Without a refresh that was begun, the older of two logins is as good as the newer one.
    place(store, draft(email("a@x.example"), oauth("at-8", Some("rt-8")))).await;
    place(store, draft(email("a@x.example"), oauth("at-9", Some("rt-9")))).await;
    assert_eq!(texts(&grant(store, first.grant).await.secret), ("at-9", Some("rt-9")));
}

pub async fn a_dead_key_given_again_serves_again_and_a_dead_login_does_not(store: &dyn Store) {
    let login = place_first(store).await;
    let key = place(store, draft(Identity::default(), api_key("sk-test-1"))).await;
    for grant in [login.grant, key.grant] {
        store.grant_bury(grant, GrantRevision::FIRST, "refused".to_owned(), later(1)).await.unwrap();
    }
    place_first(store).await;
    let again = place(store, draft(Identity::default(), api_key("sk-test-1"))).await;
    assert_eq!(again.outcome, PlacedOutcome::Updated);
    assert_eq!(grant(store, key.grant).await.state, GrantState::Live);
    assert!(matches!(grant(store, login.grant).await.state, GrantState::NeedsLogin { .. }));
}

pub async fn origins_and_custody_change_without_moving_the_revision(store: &dyn Store) {
    let first = place_first(store).await;
    store.intent_open(first.grant, GrantRevision::FIRST, intent(store, GrantRevision::FIRST, 1)).await.unwrap();
    let mut given = draft(email("a@x.example"), oauth("at-1", Some("rt-1")));
    given.grant = GrantDraft { origins: explicit("https://b.example"), custody: Custody::Followed { path: "/x".into() }, ..given.grant };
    assert_eq!(place(store, given).await.outcome, PlacedOutcome::Updated);
    let row = grant(store, first.grant).await;
    assert_eq!((row.origins, row.custody), (explicit("https://b.example"), Custody::Followed { path: "/x".into() }));
    assert_eq!((texts(&row.secret), row.revision), (("at-1", Some("rt-1")), GrantRevision::FIRST));
    assert!(row.intent.is_some());
}

pub async fn a_hand_that_disabled_an_account_outlives_the_same_secret(store: &dyn Store) {
    let first = place_first(store).await;
    let off = Standing::Disabled { cause: "by hand".to_owned(), since: later(2) };
    let patch = claviger_store::AccountPatch { standing: Some(off.clone()), ..Default::default() };
    store.account_patch(first.account, RowRevision::FIRST, patch, later(2)).await.unwrap();
    place_first(store).await;
    assert_eq!(account(store, first.account).await.unwrap().standing, off);
    place(store, draft(email("a@x.example"), oauth("at-2", Some("rt-2")))).await;
    assert_eq!(account(store, first.account).await.unwrap().standing, Standing::Active, "a new login is a new beginning");
}
