//! Promises about all other rows: accounts, blocks, keys, sessions, the audit trail.

use super::{NOW, account, draft, email, intent, later, oauth, place, place_first, provider, version};
use claviger_domain::block::{Block, BlockEnd, BlockScope};
use claviger_domain::credential::Standing;
use claviger_domain::id::{AccountId, AttemptId, GrantRevision, RowRevision};
use claviger_domain::options::{AccountOptions, Change, OptionsChange, OwnClient};
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::{Accessor, KeyKind};
use claviger_store::{
    AccountDraft, AccountPatch, AuditEntry, BLOCKS_PER_ACCOUNT_MAX, KeyDraft, RUN_KEY_REMEMBERED, StickyRow, Store, StoreError, Write,
};

pub async fn a_removed_account_takes_its_grant_unless_it_is_needed(store: &dyn Store) {
    let a = place_first(store).await;
    let b = place(store, draft(email("b@x.example"), oauth("at-1", Some("rt-1")))).await;
    assert_eq!(store.account_remove(a.account, RowRevision(7)).await.unwrap(), Write::Stale);
    assert_eq!(store.account_remove(a.account, RowRevision::FIRST).await.unwrap(), Write::Done(()));
    assert_eq!(store.account_remove(a.account, RowRevision::FIRST).await.unwrap(), Write::Stale);
    assert!(store.grant_load(a.grant).await.unwrap().is_some(), "the other account needs it");

    let first = GrantRevision::FIRST;
    store.intent_open(b.grant, first, intent(store, first, 1)).await.unwrap();
    assert_eq!(store.account_remove(b.account, RowRevision::FIRST).await.unwrap(), Write::Done(()));
    assert!(store.grant_load(b.grant).await.unwrap().is_some(), "its refresh token may have been sent");
    let again = place(store, draft(email("b@x.example"), oauth("at-1", Some("rt-1")))).await;
    assert_eq!(again.grant, b.grant, "given again, it is known");
    assert_eq!(store.account_remove(again.account, RowRevision::FIRST).await.unwrap(), Write::Done(()));
    store.intent_withdraw(b.grant, first, AttemptId(1)).await.unwrap();
    assert!(store.grant_load(b.grant).await.unwrap().is_none());
}

pub async fn ids_are_never_given_twice(store: &dyn Store) {
    let first = place_first(store).await;
    store.account_remove(first.account, RowRevision::FIRST).await.unwrap();
    let second = place_first(store).await;
    assert!(second.account > first.account && second.grant > first.grant);
}

pub async fn a_patch_names_the_revision_that_it_replaces(store: &dyn Store) {
    let placed = place_first(store).await;
    let standing = Standing::Disabled { cause: "by hand".to_owned(), since: later(1) };
    let all =
        AccountPatch { label: Some("mine".to_owned()), priority: Some(-3), standing: Some(standing.clone()), ..AccountPatch::default() };
    let done = store.account_patch(placed.account, RowRevision::FIRST, all.clone(), later(1)).await.unwrap();
    assert_eq!(done, Write::Done(RowRevision(2)));
    assert_eq!(store.account_patch(placed.account, RowRevision::FIRST, all.clone(), later(2)).await.unwrap(), Write::Stale);
    assert_eq!(store.account_patch(AccountId(99), RowRevision::FIRST, all, later(2)).await.unwrap(), Write::Stale);
    let row = account(store, placed.account).await.unwrap();
    assert_eq!((row.label.as_deref(), row.priority, &row.standing), (Some("mine"), -3, &standing));
    assert_eq!((row.revision, row.created_at, row.updated_at), (RowRevision(2), NOW, later(1)));

    let no_label = AccountPatch { label: Some(String::new()), ..AccountPatch::default() };
    store.account_patch(placed.account, RowRevision(2), no_label, later(3)).await.unwrap();
    let row = account(store, placed.account).await.unwrap();
    assert_eq!((row.label, row.priority, row.standing), (None, -3, standing));
}

fn all_options() -> OptionsChange {
    OptionsChange {
        reserve: Some("10%".parse().unwrap()),
        weight: Some("3".parse().unwrap()),
        own_client: Some(OwnClient::Only),
        model_prefix: Change::Set("team-a".parse().unwrap()),
        proxy: Change::Set("http://me:canary-pw@proxy.example:3128".parse().unwrap()),
    }
}

pub async fn options_are_loaded_as_they_were_set_and_outlive_a_new_login(store: &dyn Store) {
    let all = all_options().apply(AccountOptions::default());
    let given = AccountDraft { priority: 7, options: all.clone(), ..draft(email("a@x.example"), oauth("at-1", Some("rt-1"))) };
    let placed = place(store, given).await;
    let row = account(store, placed.account).await.unwrap();
    assert_eq!((row.priority, &row.options), (7, &all));

    // A new login brings the options of a new account along, which are not meant for one that is there.
    place(store, draft(email("a@x.example"), oauth("at-2", Some("rt-2")))).await;
    let row = account(store, placed.account).await.unwrap();
    assert_eq!((row.priority, &row.options), (7, &all));

    let other = OptionsChange { own_client: Some(OwnClient::Any), proxy: Change::Clear, ..OptionsChange::default() };
    let patch = AccountPatch { options: other.clone(), ..AccountPatch::default() };
    assert!(matches!(store.account_patch(placed.account, row.revision, patch, later(1)).await.unwrap(), Write::Done(_)));
    assert_eq!(account(store, placed.account).await.unwrap().options, other.apply(all));
    let plain = place(store, draft(email("b@x.example"), oauth("at-3", Some("rt-3")))).await;
    assert_eq!(account(store, plain.account).await.unwrap().options, AccountOptions::default());
}

pub async fn a_login_and_a_plan_are_remembered_until_newer_ones_are_told(store: &dyn Store) {
    let told = |account: &claviger_store::AccountRow| (account.plan.clone(), account.logged_in_at);
    let login = |token: &str, plan: Option<&str>, at: Option<Timestamp>| AccountDraft {
        plan: plan.map(str::to_owned),
        logged_in_at: at,
        ..draft(email("a@x.example"), oauth(token, Some("rt-1")))
    };
    let placed = place(store, login("at-1", Some("pro"), Some(NOW))).await;
    place(store, login("at-2", None, None)).await;
    let row = account(store, placed.account).await.unwrap();
    assert_eq!(told(&row), (Some("pro".to_owned()), Some(NOW)));
    place(store, login("at-3", Some("max"), Some(later(5)))).await;
    let row = account(store, placed.account).await.unwrap();
    assert_eq!(told(&row), (Some("max".to_owned()), Some(later(5))));
    let patch = AccountPatch { plan: Some("team".to_owned()), ..AccountPatch::default() };
    store.account_patch(placed.account, row.revision, patch, later(6)).await.unwrap();
    assert_eq!(told(&account(store, placed.account).await.unwrap()), (Some("team".to_owned()), Some(later(5))));
}

fn block(scope: BlockScope, until: i64) -> Block {
    Block { scope, until: later(until), end: BlockEnd::Guessed, reason: "quota".to_owned() }
}

async fn blocks(store: &dyn Store) -> Vec<(AccountId, Block)> {
    let mut blocks = store.load().await.unwrap().blocks;
    blocks.sort_by(|a, b| (a.0, &a.1.scope).cmp(&(b.0, &b.1.scope)));
    blocks
}

pub async fn of_two_blocks_of_one_scope_the_later_end_holds(store: &dyn Store) {
    let a = place_first(store).await.account;
    let model = BlockScope::Model("m:1".to_owned());
    let told = Block { end: BlockEnd::Told, ..block(model.clone(), 50) };
    store.block_put(a, block(BlockScope::Account, 20)).await.unwrap();
    store.block_put(a, block(BlockScope::Account, 10)).await.unwrap();
    store.block_put(a, block(model.clone(), 40)).await.unwrap();
    store.block_put(a, told.clone()).await.unwrap();
    store.block_put(AccountId(99), block(BlockScope::Account, 10)).await.unwrap();
    assert_eq!(blocks(store).await, [(a, block(BlockScope::Account, 20)), (a, told.clone())]);

    store.block_lift(a, Some(BlockScope::Account)).await.unwrap();
    assert_eq!(blocks(store).await, [(a, told)]);
    store.block_put(a, block(BlockScope::Tier("big".to_owned()), 5)).await.unwrap();
    store.block_lift(a, None).await.unwrap();
    assert_eq!(blocks(store).await, []);
}

pub async fn blocks_of_an_account_are_bounded(store: &dyn Store) {
    let a = place_first(store).await.account;
    for n in 0..=i64::from(BLOCKS_PER_ACCOUNT_MAX) {
        store.block_put(a, block(BlockScope::Model(format!("m{n}")), 1000 + n)).await.unwrap();
    }
    let left = blocks(store).await;
    assert_eq!(left.len(), BLOCKS_PER_ACCOUNT_MAX as usize);
    assert!(left.iter().all(|(_, block)| block.scope != BlockScope::Model("m0".to_owned())), "the one that ends first went");
}

fn key(accessor: &str, kind: KeyKind, created_at: Timestamp) -> KeyDraft {
    KeyDraft {
        accessor: accessor.parse().unwrap(),
        kind,
        digest: [7; 32],
        label: Some("laptop".to_owned()),
        providers: vec![provider()],
        accounts: vec![AccountId(1), AccountId(2)],
        created_at,
        expires_at: Some(created_at.plus(std::time::Duration::from_mins(1))),
    }
}

async fn key_names(store: &dyn Store) -> Vec<String> {
    let mut names: Vec<_> = store.load().await.unwrap().keys.iter().map(|row| row.key.accessor.to_string()).collect();
    names.sort_unstable();
    names
}

pub async fn a_virtual_key_is_listed_until_it_is_forgotten(store: &dyn Store) {
    let standing = key("aaaaaaaaaa", KeyKind::Standing, NOW);
    let open = KeyDraft { label: None, providers: vec![], accounts: vec![], expires_at: None, ..key("bbbbbbbbbb", KeyKind::Run, NOW) };
    store.key_insert(standing.clone()).await.unwrap();
    store.key_insert(open.clone()).await.unwrap();
    store.key_insert(key("cccccccccc", KeyKind::Run, NOW)).await.unwrap();
    assert!(matches!(store.key_insert(standing.clone()).await, Err(StoreError::Database { .. })), "an accessor is unique");
    let keys = store.load().await.unwrap().keys;
    let row = |draft: &KeyDraft| keys.iter().find(|row| row.key.accessor == draft.accessor).cloned().unwrap();
    assert_eq!((row(&standing).key, row(&standing).revoked_at), (standing.clone(), None));
    assert_eq!(row(&open).key, open);

    assert!(store.key_revoke(standing.accessor, later(5)).await.unwrap());
    assert!(store.key_revoke(standing.accessor, later(9)).await.unwrap());
    let nobody: Accessor = "zzzzzzzzzz".parse().unwrap();
    assert!(!store.key_revoke(nobody, later(5)).await.unwrap());
    let keys = store.load().await.unwrap().keys;
    let revoked = keys.iter().find(|row| row.key.accessor == standing.accessor).unwrap();
    assert_eq!(revoked.revoked_at, Some(later(5)), "the first revocation holds");

    store.key_insert(key("dddddddddd", KeyKind::Run, later(61).plus(RUN_KEY_REMEMBERED))).await.unwrap();
    assert_eq!(key_names(store).await, ["aaaaaaaaaa", "bbbbbbbbbb", "dddddddddd"], "ended runs are forgotten, standing keys are not");
}

pub async fn sessions_are_remembered_latest_last(store: &dyn Store) {
    let a = place_first(store).await.account;
    let b = place(store, draft(email("b@x.example"), oauth("at-2", Some("rt-2")))).await.account;
    let row = |session, account, used| StickyRow { provider: provider(), session, account, used_at: later(used) };
    store.sticky_put(vec![row(u64::MAX, a, 30), row(1, a, 10), row(2, a, 20), row(3, AccountId(99), 30)]).await.unwrap();
    store.sticky_put(vec![row(2, b, 40)]).await.unwrap();
    assert_eq!(store.sticky_load(later(0)).await.unwrap(), [row(1, a, 10), row(u64::MAX, a, 30), row(2, b, 40)]);
    assert_eq!(store.sticky_load(later(30)).await.unwrap(), [row(u64::MAX, a, 30), row(2, b, 40)]);
    store.account_remove(a, RowRevision::FIRST).await.unwrap();
    assert_eq!(store.sticky_load(later(0)).await.unwrap(), [row(2, b, 40)]);
}

pub async fn the_audit_trail_is_read_latest_first(store: &dyn Store) {
    let entry = |n: i64| AuditEntry {
        at: later(n),
        action: "token.export".to_owned(),
        subject: format!("account {n}"),
        actor: "uid 1000".to_owned(),
    };
    for n in 1..=3 {
        store.audit_append(entry(n)).await.unwrap();
    }
    assert_eq!(store.audit_list(2).await.unwrap(), [entry(3), entry(2)]);
    assert_eq!(store.audit_list(9).await.unwrap().len(), 3);
}

pub async fn the_version_moves_with_what_a_view_shows_and_with_nothing_else(store: &dyn Store) {
    let mut last = version(store).await;
    let mut moved = async |what: &str, moves: bool| {
        let now = version(store).await;
        assert_eq!(now != last, moves, "{what}");
        last = now;
        assert_eq!(store.load().await.unwrap().version, now, "{what}");
    };
    let placed = place_first(store).await;
    moved("account_place", true).await;
    store.account_patch(placed.account, RowRevision::FIRST, AccountPatch::default(), later(1)).await.unwrap();
    moved("account_patch", true).await;
    store.block_put(placed.account, block(BlockScope::Account, 9)).await.unwrap();
    moved("block_put", true).await;
    store.block_lift(placed.account, None).await.unwrap();
    moved("block_lift", true).await;
    store.key_insert(key("aaaaaaaaaa", KeyKind::Standing, NOW)).await.unwrap();
    moved("key_insert", true).await;
    store.key_revoke("aaaaaaaaaa".parse().unwrap(), later(1)).await.unwrap();
    moved("key_revoke", true).await;
    store.intent_open(placed.grant, GrantRevision::FIRST, intent(store, GrantRevision::FIRST, 1)).await.unwrap();
    moved("intent_open", false).await;
    store.sticky_put(vec![StickyRow { provider: provider(), session: 1, account: placed.account, used_at: NOW }]).await.unwrap();
    store.audit_append(AuditEntry { at: NOW, action: "a".to_owned(), subject: "b".to_owned(), actor: "c".to_owned() }).await.unwrap();
    moved("sticky_put and audit_append", false).await;
    store.grant_commit(super::commit(placed.grant, 1, oauth("at-2", Some("rt-2")), Some(1))).await.unwrap();
    moved("grant_commit", true).await;
    store.grant_bury(placed.grant, GrantRevision(2), "x".to_owned(), later(1)).await.unwrap();
    moved("grant_bury", true).await;
    store.account_remove(placed.account, RowRevision(2)).await.unwrap();
    moved("account_remove", true).await;
}

pub async fn equal_secrets_have_equal_fingerprints(store: &dyn Store) {
    assert_eq!(store.fingerprint("rt-1"), store.fingerprint("rt-1"));
    assert_ne!(store.fingerprint("rt-1"), store.fingerprint("rt-2"));
    let (one, two) = (store.key_hash_key().await.unwrap(), store.key_hash_key().await.unwrap());
    assert_eq!(*one.0, *two.0);
    assert_ne!(*one.0, [0; 32]);
}
