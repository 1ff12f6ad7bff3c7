//! One suite for every store: the promises of `claviger_store::Store`, each as a test.
//!
//! `claviger_testkit::store_suite!(make)` in an integration test runs it; `make()` gives a guard and a new, empty store.

#![expect(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "these are tests, named by what they show"
)]

mod guard;
mod journal;
mod place;
mod rows;
mod slots;
mod taken;

pub use guard::*;
pub use journal::*;
pub use place::*;
pub use rows::*;
pub use slots::*;
pub use taken::*;

use claviger_domain::credential::{Custody, Source, Standing};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, InstanceId, ProviderId};
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::origin::StoredOrigins;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_store::{AccountDraft, AccountRow, GrantCommit, GrantDraft, GrantRow, GrantSecret, IntentRow, Placed, Store};

/// Runs every promise of a store as a test of its own. `$make` is called once per test and gives `(guard, store)`.
#[macro_export]
macro_rules! store_suite {
    ($make:path) => {
        $crate::store_suite! { $make:
            an_account_is_loaded_as_it_was_placed
            the_same_secret_again_changes_nothing
            a_new_login_replaces_the_secret_in_place
            one_secret_under_two_identities_is_one_grant
            a_new_login_of_one_sharer_leaves_the_other_alone
            the_last_sharer_to_leave_a_grant_takes_it_away
            an_account_without_identity_is_known_by_its_secret
            one_secret_at_two_providers_is_two_grants
            the_same_refresh_token_never_closes_an_open_intent
            another_access_token_of_the_same_login_moves_the_revision
            a_new_login_closes_an_open_intent
            a_refresh_token_that_was_redeemed_here_never_comes_back
            a_redeemed_refresh_token_of_a_removed_account_needs_a_login
            a_token_that_may_have_been_redeemed_never_comes_back
            a_dead_key_given_again_serves_again_and_a_dead_login_does_not
            origins_and_custody_change_without_moving_the_revision
            a_hand_that_disabled_an_account_outlives_the_same_secret
            an_intent_is_read_back_and_joined_by_a_second_attempt
            an_intent_for_another_revision_is_stale
            an_intent_closes_with_its_last_attempt
            an_attempt_that_was_withdrawn_is_done_with
            a_commit_is_done_with_every_attempt_of_its_intent
            open_attempts_are_known_also_where_no_account_needs_the_grant
            a_commit_moves_the_revision_and_closes_the_intent
            a_commit_without_a_refresh_token_keeps_the_old_one
            a_followed_file_means_what_it_says
            a_stale_commit_writes_nothing
            of_many_commits_of_one_revision_one_wins
            a_grant_that_was_buried_needs_a_login_and_has_no_intent
            a_rebound_secret_is_the_same_under_the_next_revision
            a_rebind_with_an_open_intent_or_of_an_older_revision_writes_nothing
            a_key_is_rebound_as_a_login_is
            a_grant_that_is_not_quarantined_is_not_released
            a_login_that_is_taken_over_is_ours_with_its_refresh_token
            a_login_is_taken_again_where_its_tool_has_renewed_it
            a_stale_take_writes_nothing
            a_new_login_or_a_removal_forgets_what_was_taken
            a_login_that_came_in_by_another_way_is_one_with_what_is_taken
            an_applied_attempt_is_remembered_for_a_month
            a_commit_meets_another_grant_with_its_new_token
            a_removed_account_takes_its_grant_unless_it_is_needed
            ids_are_never_given_twice
            a_patch_names_the_revision_that_it_replaces
            options_are_loaded_as_they_were_set_and_outlive_a_new_login
            a_login_and_a_plan_are_remembered_until_newer_ones_are_told
            of_two_blocks_of_one_scope_the_later_end_holds
            blocks_of_an_account_are_bounded
            a_virtual_key_is_listed_until_it_is_forgotten
            sessions_are_remembered_latest_last
            the_audit_trail_is_read_latest_first
            the_version_moves_with_what_a_view_shows_and_with_nothing_else
            equal_secrets_have_equal_fingerprints
            a_lock_excludes_a_second_one_until_it_is_dropped
            an_answer_comes_back_out_of_its_slot
            an_answer_opens_for_its_own_grant_and_revision_only
            a_slot_without_an_answer_is_no_answer
            a_slot_that_holds_anything_is_not_empty
            a_slot_holds_64_kib_and_no_more
            a_closed_store_refuses_all_but_slots
        }
    };
    ($make:path: $($name:ident)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (_guard, store) = $make();
                $crate::store_suite::$name(&store).await;
            }
        )+
    };
}

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

pub(crate) fn later(secs: i64) -> Timestamp {
    Timestamp(NOW.0 + secs * 1000)
}

pub(crate) fn text(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

pub(crate) fn provider() -> ProviderId {
    ProviderId::new("acme").unwrap()
}

pub(crate) fn oauth(access: &str, refresh: Option<&str>) -> GrantSecret {
    GrantSecret::OAuth { access: text(access), refresh: refresh.map(text) }
}

pub(crate) fn api_key(key: &str) -> GrantSecret {
    GrantSecret::ApiKey { key: text(key) }
}

pub(crate) fn email(email: &str) -> Identity {
    Identity { email: Some(email.to_owned()), ..Identity::default() }
}

pub(crate) fn grant_draft(secret: GrantSecret) -> GrantDraft {
    GrantDraft { secret, expires_at: Some(later(3600)), issued_at: NOW, origins: StoredOrigins::Builtin, custody: Custody::Owned }
}

pub(crate) fn draft(identity: Identity, secret: GrantSecret) -> AccountDraft {
    AccountDraft {
        provider: provider(),
        grant: grant_draft(secret),
        identity,
        source: Source::Login,
        label: None,
        priority: 0,
        options: AccountOptions::default(),
        standing: Standing::Active,
        plan: None,
        logged_in_at: None,
        onto: None,
    }
}

/// Places a login of `a@x.example` with the tokens `at-1` and `rt-1`.
pub(crate) async fn place_first(store: &dyn Store) -> Placed {
    place(store, draft(email("a@x.example"), oauth("at-1", Some("rt-1")))).await
}

pub(crate) async fn place(store: &dyn Store, draft: AccountDraft) -> Placed {
    store.account_place(draft, NOW).await.unwrap()
}

pub(crate) async fn account(store: &dyn Store, id: AccountId) -> Option<AccountRow> {
    store.load().await.unwrap().accounts.into_iter().find(|row| row.id == id)
}

pub(crate) async fn grant(store: &dyn Store, id: GrantId) -> GrantRow {
    store.grant_load(id).await.unwrap().expect("the grant is there")
}

pub(crate) async fn version(store: &dyn Store) -> u64 {
    store.version().await.unwrap()
}

/// The texts of a secret: access token or key, and refresh token.
pub(crate) fn texts(secret: &GrantSecret) -> (&str, Option<&str>) {
    match secret {
        GrantSecret::OAuth { access, refresh } => (access.expose(), refresh.as_ref().map(SecretText::expose)),
        GrantSecret::ApiKey { key } => (key.expose(), None),
    }
}

pub(crate) fn intent(store: &dyn Store, from: GrantRevision, attempt: u128) -> IntentRow {
    IntentRow { from, fingerprint: store.fingerprint("rt-1"), attempts: vec![AttemptId(attempt)], instance: InstanceId(7), opened_at: NOW }
}

pub(crate) fn commit(grant: GrantId, from: u64, secret: GrantSecret, attempt: Option<u128>) -> GrantCommit {
    let attempt = attempt.map(AttemptId);
    GrantCommit { grant, from: GrantRevision(from), secret, expires_at: Some(later(7200)), issued_at: later(60), attempt }
}
