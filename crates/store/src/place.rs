//! How a draft is placed among what is there: decided here once, carried out by each store.

use crate::{AccountDraft, AccountRow, GrantDraft, GrantSecret, PlacedOutcome};
use claviger_domain::credential::{Source, Standing};
use claviger_domain::id::{AccountId, GrantId, ProviderId};
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;

/// What is known that bears on placing a draft.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceFacts {
    /// The account that the draft is about.
    pub(crate) account: Option<KnownAccount>,
    /// The grant of the draft's provider with the draft's fingerprint.
    pub(crate) grant: Option<KnownGrant>,
    /// Whether the draft's refresh token was given before and redeemed here since.
    pub(crate) spent: bool,
}

/// The account that a draft is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownAccount {
    pub(crate) id: AccountId,
    pub(crate) grant: GrantId,
    /// Whether other accounts refer to its grant.
    pub(crate) shares_grant: bool,
}

/// A grant with the draft's fingerprint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownGrant {
    pub(crate) id: GrantId,
    pub(crate) secret: SecretMatch,
    pub(crate) intent_open: bool,
}

/// How the secret of a grant compares with a draft of the same fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretMatch {
    /// They are the same in all parts.
    Same,
    /// The refresh token is the same, the access token is another.
    OtherAccess,
    /// The stored one cannot be opened.
    Unreadable,
}

/// What becomes of the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantPlan {
    /// A new row.
    Insert,
    /// A new row that needs a login: its refresh token must not be sent.
    InsertDead,
    /// The row stays as it is: what it holds came after the draft's secret.
    Keep(GrantId),
    /// The draft's secret takes the place of the row's under the next revision; it serves again, its intent is closed.
    Replace(GrantId),
    /// The secret stays under its revision; origins and custody become the draft's.
    Rebind(GrantId),
}

impl GrantPlan {
    pub(crate) fn moves_secret(self) -> bool {
        match self {
            Self::Insert | Self::InsertDead | Self::Replace(_) => true,
            Self::Keep(_) | Self::Rebind(_) => false,
        }
    }
}

/// Decides what becomes of the grant.
///
/// While an intent is open, the same refresh token never replaces itself: that would forget that it may have been sent. A
/// spent one never replaces anything: another tool's file still has it long after it was rotated here.
pub(crate) fn plan(facts: &PlaceFacts) -> GrantPlan {
    match (facts.grant, facts.account) {
        (Some(grant), _) if grant.secret == SecretMatch::Same || grant.intent_open || facts.spent => GrantPlan::Rebind(grant.id),
        (None, Some(account)) if facts.spent => GrantPlan::Keep(account.grant),
        (None, None) if facts.spent => GrantPlan::InsertDead,
        (Some(grant), _) => GrantPlan::Replace(grant.id),
        (None, Some(account)) if !account.shares_grant => GrantPlan::Replace(account.grant),
        (None, _) => GrantPlan::Insert,
    }
}

/// Why a grant that came in with a spent refresh token needs a login.
pub(crate) const SPENT_CAUSE: &str = "its refresh token was used up here before";

/// Compares two secrets of one fingerprint.
pub(crate) fn compare(stored: &GrantSecret, draft: &GrantSecret) -> SecretMatch {
    let same = match (stored, draft) {
        (GrantSecret::OAuth { access, refresh }, GrantSecret::OAuth { access: new_access, refresh: new_refresh }) => {
            let same_refresh = refresh.as_ref().map(SecretText::expose) == new_refresh.as_ref().map(SecretText::expose);
            access.expose() == new_access.expose() && same_refresh
        }
        (GrantSecret::ApiKey { key }, GrantSecret::ApiKey { key: new_key }) => key.expose() == new_key.expose(),
        _ => false,
    };
    if same { SecretMatch::Same } else { SecretMatch::OtherAccess }
}

/// The facts of a draft that concern the account alone.
#[derive(Debug, Clone)]
pub(crate) struct AccountFacts {
    pub(crate) identity: Identity,
    pub(crate) source: Source,
    pub(crate) label: Option<String>,
    pub(crate) priority: i32,
    pub(crate) options: AccountOptions,
    pub(crate) standing: Standing,
    pub(crate) plan: Option<String>,
    pub(crate) logged_in_at: Option<Timestamp>,
    /// The account that it renews.
    pub(crate) onto: Option<AccountId>,
}

/// A draft in its two parts: the facts that concern the account alone, and its grant.
pub(crate) fn parts(draft: AccountDraft) -> (ProviderId, GrantDraft, AccountFacts) {
    let AccountDraft { provider, grant, identity, source, label, priority, options, standing, plan, logged_in_at, onto } = draft;
    let identity = identity.normalized();
    (provider, grant, AccountFacts { identity, source, label, priority, options, standing, plan, logged_in_at, onto })
}

/// The account's row after placing a draft; `None` where nothing of it changes.
///
/// A person's standing survives the same secret and falls with a new one; priority and options survive both.
pub(crate) fn account_after(
    row: &AccountRow,
    facts: AccountFacts,
    grant: GrantId,
    grant_plan: GrantPlan,
    now: Timestamp,
) -> Option<AccountRow> {
    let AccountFacts { identity, source, label, priority: _, options: _, standing, plan, logged_in_at, onto: _ } = facts;
    let after = AccountRow {
        grant,
        identity: learn(&row.identity, identity),
        source,
        label: label.or_else(|| row.label.clone()),
        standing: if grant_plan.moves_secret() { standing } else { row.standing.clone() },
        plan: plan.or_else(|| row.plan.clone()),
        logged_in_at: logged_in_at.or(row.logged_in_at),
        ..row.clone()
    };
    (after != *row).then(|| AccountRow { revision: row.revision.next(), updated_at: now, ..after })
}

/// What is known of an identity after a new login: the new facts, and the old ones that it does not name, unless they
/// would make another account of it.
fn learn(old: &Identity, new: Identity) -> Identity {
    let merged = new.clone().completed_by(old.clone());
    match new.key() {
        Some(key) if merged.key().as_ref() != Some(&key) => new,
        _ => merged,
    }
}

/// How placing on an account that was there ended.
pub(crate) fn outcome(changed: bool) -> PlacedOutcome {
    if changed { PlacedOutcome::Updated } else { PlacedOutcome::Unchanged }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: KnownAccount = KnownAccount { id: AccountId(1), grant: GrantId(1), shares_grant: false };
    const SAME: KnownGrant = KnownGrant { id: GrantId(2), secret: SecretMatch::Same, intent_open: false };

    #[test]
    fn the_grant_is_replaced_in_place_only_where_no_other_account_loses_by_it() {
        let table = [
            (None, None, GrantPlan::Insert),
            (Some(ALONE), None, GrantPlan::Replace(GrantId(1))),
            (Some(KnownAccount { shares_grant: true, ..ALONE }), None, GrantPlan::Insert),
            (None, Some(SAME), GrantPlan::Rebind(GrantId(2))),
            (Some(ALONE), Some(SAME), GrantPlan::Rebind(GrantId(2))),
            (Some(ALONE), Some(KnownGrant { secret: SecretMatch::OtherAccess, ..SAME }), GrantPlan::Replace(GrantId(2))),
            (None, Some(KnownGrant { secret: SecretMatch::Unreadable, ..SAME }), GrantPlan::Replace(GrantId(2))),
        ];
        for (account, grant, expected) in table {
            assert_eq!(plan(&PlaceFacts { account, grant, spent: false }), expected, "{account:?} {grant:?}");
        }
    }

    #[test]
    fn a_spent_refresh_token_replaces_nothing() {
        let other = KnownGrant { secret: SecretMatch::OtherAccess, ..SAME };
        let table = [
            (None, None, GrantPlan::InsertDead),
            (Some(ALONE), None, GrantPlan::Keep(GrantId(1))),
            (Some(KnownAccount { shares_grant: true, ..ALONE }), None, GrantPlan::Keep(GrantId(1))),
            (None, Some(other), GrantPlan::Rebind(GrantId(2))),
            (Some(ALONE), Some(other), GrantPlan::Rebind(GrantId(2))),
        ];
        for (account, grant, expected) in table {
            assert_eq!(plan(&PlaceFacts { account, grant, spent: true }), expected, "{account:?} {grant:?}");
        }
    }

    #[test]
    fn the_same_refresh_token_never_closes_an_open_intent() {
        for secret in [SecretMatch::Same, SecretMatch::OtherAccess, SecretMatch::Unreadable] {
            let grant = Some(KnownGrant { secret, intent_open: true, ..SAME });
            assert_eq!(plan(&PlaceFacts { account: Some(ALONE), grant, spent: false }), GrantPlan::Rebind(GrantId(2)));
        }
    }

    #[test]
    fn a_login_that_says_less_forgets_nothing() {
        let some = |text: &str| Some(text.to_owned());
        let old = Identity { email: some("a@x.example"), org_name: some("X"), ..Identity::default() };
        let new = Identity { email: some("a@x.example"), ..Identity::default() };
        assert_eq!(learn(&old, new).org_name, some("X"));
        let other = Identity { email: some("a@x.example"), org_id: some("o2"), ..Identity::default() };
        let old = Identity { email: some("a@x.example"), account_id: some("w1"), ..Identity::default() };
        assert_eq!(learn(&old, other.clone()).key(), other.key());
    }
}
