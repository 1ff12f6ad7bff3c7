//! The OAuth server's memory as a pure state machine: which token was issued, redeemed, replayed, reused or revoked.

use std::collections::HashMap;

use crate::config::{Rotation, TokenPolicy};
use crate::ledger::{CredentialVerdict, TokenOutcome};

/// A login as the token endpoint handed it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedGrant {
    /// The access token.
    pub access: String,
    /// The refresh token that is valid together with it.
    pub refresh: String,
    /// When the access token expires, in epoch milliseconds.
    pub expires_at_ms: i64,
    /// The account that logged in.
    pub account: String,
}

/// All tokens and keys that the provider knows.
#[derive(Debug, Default)]
pub(crate) struct TokenServer {
    seed: u64,
    minted: u64,
    families: u64,
    access: HashMap<String, AccessRow>,
    refresh: HashMap<String, RefreshRow>,
    api_keys: HashMap<String, String>,
}

#[derive(Debug)]
struct AccessRow {
    account: String,
    family: u64,
    expires_at_ms: i64,
    revoked: bool,
}

#[derive(Debug)]
struct RefreshRow {
    account: String,
    family: u64,
    state: RefreshState,
}

#[derive(Debug, Clone)]
enum RefreshState {
    Live,
    Consumed { at_ms: i64, successor: IssuedGrant },
    Dead,
}

impl TokenServer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A login with fresh tokens and a family of its own.
    pub(crate) fn issue(&mut self, account: &str, lifetime_s: i64, now_ms: i64) -> IssuedGrant {
        let (access, refresh) = (self.mint("at"), self.mint("rt"));
        self.issue_with(account, (&access, &refresh), lifetime_s, now_ms)
    }

    /// A login with given token texts, in the order access, refresh. A text that is known already is issued anew.
    pub(crate) fn issue_with(&mut self, account: &str, (access, refresh): (&str, &str), lifetime_s: i64, now_ms: i64) -> IssuedGrant {
        self.families += 1;
        let family = self.families;
        let grant = IssuedGrant {
            access: access.to_owned(),
            refresh: refresh.to_owned(),
            expires_at_ms: now_ms.saturating_add(lifetime_s.saturating_mul(1000)),
            account: account.to_owned(),
        };
        self.enter(&grant, family);
        grant
    }

    /// Redeems a refresh token by `policy`. The outcome names the tokens that are valid afterwards.
    pub(crate) fn redeem(&mut self, refresh: &str, policy: &TokenPolicy, now_ms: i64) -> TokenOutcome {
        let Some(row) = self.refresh.get(refresh) else {
            return TokenOutcome::Unknown;
        };
        let (family, account) = (row.family, row.account.clone());
        match row.state.clone() {
            RefreshState::Dead => TokenOutcome::Dead,
            RefreshState::Live => self.rotate(refresh, (family, account), policy, now_ms),
            RefreshState::Consumed { at_ms, successor } if in_grace(policy.rotation, at_ms, now_ms) => {
                TokenOutcome::Replayed { access: successor.access, refresh: successor.refresh }
            }
            RefreshState::Consumed { .. } => {
                self.family_revoke(family);
                TokenOutcome::Reused
            }
        }
    }

    fn rotate(&mut self, refresh: &str, (family, account): (u64, String), policy: &TokenPolicy, now_ms: i64) -> TokenOutcome {
        let keeps = policy.omit_refresh_token || policy.rotation == Rotation::None;
        if policy.revoke_old_access {
            self.access.values_mut().filter(|row| row.family == family).for_each(|row| row.revoked = true);
        }
        let access = self.mint("at");
        let successor_refresh = if keeps { refresh.to_owned() } else { self.mint("rt") };
        let lifetime_ms = i64::try_from(policy.lifetime_s).unwrap_or(i64::MAX).saturating_mul(1000);
        let successor = IssuedGrant { access, refresh: successor_refresh, expires_at_ms: now_ms.saturating_add(lifetime_ms), account };
        self.enter(&successor, family);
        let (access, new_refresh) = (successor.access.clone(), successor.refresh.clone());
        if !keeps && let Some(row) = self.refresh.get_mut(refresh) {
            row.state = RefreshState::Consumed { at_ms: now_ms, successor };
        }
        TokenOutcome::Rotated { access, refresh: new_refresh }
    }

    /// Accepts `key` as an API key of `account`.
    pub(crate) fn api_key_add(&mut self, key: &str, account: &str) {
        self.api_keys.insert(key.to_owned(), account.to_owned());
    }

    /// Whose API key `key` is.
    pub(crate) fn api_key_account(&self, key: &str) -> Option<&str> {
        self.api_keys.get(key).map(String::as_str)
    }

    /// What an access token is worth now.
    pub(crate) fn access_verdict(&self, access: &str, now_ms: i64) -> CredentialVerdict {
        match self.access.get(access) {
            None => CredentialVerdict::Unknown,
            Some(row) if row.revoked => CredentialVerdict::Revoked { account: row.account.clone() },
            Some(row) if row.expires_at_ms <= now_ms => CredentialVerdict::Expired { account: row.account.clone() },
            Some(row) => CredentialVerdict::Live { account: row.account.clone() },
        }
    }

    /// The remaining life of an access token in whole seconds, at least 0.
    pub(crate) fn access_remaining_s(&self, access: &str, now_ms: i64) -> i64 {
        self.access.get(access).map_or(0, |row| row.expires_at_ms.saturating_sub(now_ms).max(0) / 1000)
    }

    pub(crate) fn access_revoke(&mut self, access: &str) {
        if let Some(row) = self.access.get_mut(access) {
            row.revoked = true;
        }
    }

    pub(crate) fn access_expire(&mut self, access: &str, now_ms: i64) {
        if let Some(row) = self.access.get_mut(access) {
            row.expires_at_ms = row.expires_at_ms.min(now_ms);
        }
    }

    /// Expires every access token of the account; its refresh tokens stay good.
    pub(crate) fn account_expire(&mut self, account: &str, now_ms: i64) {
        for row in self.access.values_mut().filter(|row| row.account == account) {
            row.expires_at_ms = row.expires_at_ms.min(now_ms);
        }
    }

    /// Revokes every login of the account.
    pub(crate) fn account_revoke(&mut self, account: &str) {
        self.access.values_mut().filter(|row| row.account == account).for_each(|row| row.revoked = true);
        let rows = self.refresh.values_mut().filter(|row| row.account == account);
        rows.for_each(|row| row.state = RefreshState::Dead);
    }

    /// Whether the account has a login or an API key.
    pub(crate) fn account_is_known(&self, account: &str) -> bool {
        self.refresh.values().any(|row| row.account == account) || self.api_keys.values().any(|owner| owner == account)
    }

    fn family_revoke(&mut self, family: u64) {
        self.access.values_mut().filter(|row| row.family == family).for_each(|row| row.revoked = true);
        let rows = self.refresh.values_mut().filter(|row| row.family == family);
        rows.for_each(|row| row.state = RefreshState::Dead);
    }

    fn enter(&mut self, grant: &IssuedGrant, family: u64) {
        let account = grant.account.clone();
        let row = AccessRow { account, family, expires_at_ms: grant.expires_at_ms, revoked: false };
        self.access.insert(grant.access.clone(), row);
        let row = RefreshRow { account: grant.account.clone(), family, state: RefreshState::Live };
        self.refresh.insert(grant.refresh.clone(), row);
    }

    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        format!("sim-{kind}-{:016x}", scramble(self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(self.minted)))
    }
}

fn in_grace(rotation: Rotation, consumed_at_ms: i64, now_ms: i64) -> bool {
    match rotation {
        Rotation::Strict | Rotation::None => false,
        Rotation::Grace { grace_s } => {
            let window_ms = i64::try_from(grace_s).unwrap_or(i64::MAX).saturating_mul(1000);
            now_ms.saturating_sub(consumed_at_ms) <= window_ms
        }
    }
}

/// splitmix64: a bijection, so that one simulator never mints a text twice.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn server() -> TokenServer {
        let mut server = TokenServer::new(7);
        server.issue_with("ada", ("at-1", "rt-1"), 3600, NOW);
        server
    }

    fn policy(rotation: Rotation) -> TokenPolicy {
        TokenPolicy { rotation, ..TokenPolicy::default() }
    }

    /// The word for an outcome, with the pair that it left valid.
    fn word(outcome: &TokenOutcome) -> &'static str {
        match outcome {
            TokenOutcome::Rotated { .. } => "rotated",
            TokenOutcome::Replayed { .. } => "replayed",
            TokenOutcome::Reused => "reused",
            TokenOutcome::Dead => "dead",
            TokenOutcome::Unknown => "unknown",
            other => panic!("redeem never answers {other:?}"),
        }
    }

    #[test]
    fn a_second_use_of_rt_1_is_answered_by_the_rule_of_the_rotation() {
        let grace = Rotation::Grace { grace_s: 30 };
        let table = [
            (Rotation::Strict, 0, ["rotated", "reused", "dead"]),
            (grace, 30_000, ["rotated", "replayed", "reused"]),
            (grace, 30_001, ["rotated", "reused", "dead"]),
            (Rotation::None, 90_000, ["rotated", "rotated", "rotated"]),
        ];
        for (rotation, step_ms, expected) in table {
            let mut server = server();
            let policy = policy(rotation);
            let seen = [0, 1, 2].map(|n| word(&server.redeem("rt-1", &policy, NOW + n * step_ms)));
            assert_eq!(seen, expected, "{rotation:?} every {step_ms} ms");
        }
    }

    #[test]
    fn reuse_kills_every_token_of_the_family_and_no_other() {
        let mut server = server();
        server.issue_with("bob", ("at-b", "rt-b"), 3600, NOW);
        let TokenOutcome::Rotated { access, refresh } = server.redeem("rt-1", &policy(Rotation::Strict), NOW) else {
            panic!("a live token rotates")
        };
        assert_eq!(server.redeem("rt-1", &policy(Rotation::Strict), NOW), TokenOutcome::Reused);
        for dead in ["at-1", &access] {
            assert_eq!(server.access_verdict(dead, NOW), CredentialVerdict::Revoked { account: "ada".into() });
        }
        assert_eq!(server.redeem(&refresh, &policy(Rotation::Strict), NOW), TokenOutcome::Dead);
        assert_eq!(server.access_verdict("at-b", NOW), CredentialVerdict::Live { account: "bob".into() });
        assert_eq!(word(&server.redeem("rt-b", &policy(Rotation::Strict), NOW)), "rotated");
    }

    #[test]
    fn a_replay_in_the_window_yields_the_pair_of_the_first_answer() {
        let mut server = server();
        let policy = policy(Rotation::Grace { grace_s: 30 });
        let TokenOutcome::Rotated { access, refresh } = server.redeem("rt-1", &policy, NOW) else { panic!("a live token rotates") };
        assert_eq!(server.redeem("rt-1", &policy, NOW + 29_000), TokenOutcome::Replayed { access, refresh });
    }

    #[test]
    fn an_omitted_refresh_token_is_the_one_that_stays_valid() {
        let mut server = server();
        let policy = TokenPolicy { omit_refresh_token: true, ..TokenPolicy::default() };
        for _ in 0..2 {
            let TokenOutcome::Rotated { refresh, .. } = server.redeem("rt-1", &policy, NOW) else { panic!("the token was not consumed") };
            assert_eq!(refresh, "rt-1");
        }
    }

    #[test]
    fn an_old_access_token_dies_at_refresh_only_where_the_policy_says_so() {
        for revoke_old_access in [false, true] {
            let mut server = server();
            let policy = TokenPolicy { revoke_old_access, ..TokenPolicy::default() };
            server.redeem("rt-1", &policy, NOW);
            let dead = server.access_verdict("at-1", NOW) == CredentialVerdict::Revoked { account: "ada".into() };
            assert_eq!(dead, revoke_old_access);
        }
    }

    #[test]
    fn an_access_token_is_live_until_the_millisecond_of_its_expiry() {
        let server = server();
        let end = NOW + 3_600_000;
        assert_eq!(server.access_verdict("at-1", end - 1), CredentialVerdict::Live { account: "ada".into() });
        assert_eq!(server.access_verdict("at-1", end), CredentialVerdict::Expired { account: "ada".into() });
        assert_eq!(server.access_verdict("rt-1", NOW), CredentialVerdict::Unknown);
    }
}
