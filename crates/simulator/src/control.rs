//! The hand on the provider: logins, keys, policies and faults, changed while it runs.

use std::sync::Arc;

use crate::config::TokenPolicy;
use crate::faults::{LlmFault, TokenFault};
use crate::identity_provider::LoginPolicy;
use crate::state::{Pace, Shared};
use crate::tokens::IssuedGrant;
use crate::usage_endpoint::{UsageFault, UsageTold};

/// A handle that changes the behaviour of a running simulator. Clones act on the same server.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Mints a login with a family of its own, as if a person had logged in; its life is the policy's.
    pub fn grant_issue(&self, account: &str) -> IssuedGrant {
        let now_ms = self.shared.now_ms();
        self.shared.update(|state| {
            let lifetime_s = i64::try_from(state.policy.lifetime_s).unwrap_or(i64::MAX);
            state.tokens.issue(account, lifetime_s, now_ms)
        })
    }

    /// Enters a login with given token texts, for fixtures. A lifetime of 0 or less makes an expired access token.
    pub fn grant_issue_with(&self, account: &str, access: &str, refresh: &str, lifetime_s: i64) -> IssuedGrant {
        let now_ms = self.shared.now_ms();
        self.shared.update(|state| state.tokens.issue_with(account, (access, refresh), lifetime_s, now_ms))
    }

    /// Accepts this API key, in any slot, as the account's.
    pub fn api_key_add(&self, key: &str, account: &str) {
        self.shared.update(|state| state.tokens.api_key_add(key, account));
    }

    /// Revokes one access token; its refresh token stays good.
    pub fn access_revoke(&self, access: &str) {
        self.shared.update(|state| state.tokens.access_revoke(access));
    }

    /// Ends the life of one access token now.
    pub fn access_expire(&self, access: &str) {
        let now_ms = self.shared.now_ms();
        self.shared.update(|state| state.tokens.access_expire(access, now_ms));
    }

    /// Ends the life of every access token of the account now.
    pub fn account_expire(&self, account: &str) {
        let now_ms = self.shared.now_ms();
        self.shared.update(|state| state.tokens.account_expire(account, now_ms));
    }

    /// Revokes every login of the account, as if the person had signed out everywhere.
    pub fn grant_revoke(&self, account: &str) {
        self.shared.update(|state| state.tokens.account_revoke(account));
    }

    /// Whether the account has a login or an API key here.
    pub fn account_is_known(&self, account: &str) -> bool {
        self.shared.read(|state| state.tokens.account_is_known(account))
    }

    /// Replaces who logs in, and how the identity provider behaves.
    pub fn login_policy_set(&self, policy: LoginPolicy) {
        self.shared.update(|state| state.identity_provider.policy = policy);
    }

    /// What an account has used from now on, told by the usage endpoint and by the headers of answers (default 12 and 3 per cent).
    pub fn usage_set(&self, account: &str, told: UsageTold) {
        self.shared.update(|state| state.usage.told.insert(account.to_owned(), told));
    }

    /// Queues a fault for the next question to the usage endpoint that has none.
    pub fn usage_fault_next(&self, fault: UsageFault) {
        self.shared.update(|state| state.usage.faults.push_back(fault));
    }

    /// Saves a reset for an account. Of several, the one whose id sorts first is lost first.
    pub fn credit_save(&self, account: &str, id: &str) {
        self.shared.update(|state| state.credits.saved.entry(account.to_owned()).or_default().insert(id.to_owned()));
    }

    /// How much an account has used of its short window, as told beside its saved resets, in per cent.
    pub fn credit_usage_set(&self, account: &str, percent: u8) {
        self.shared.update(|state| state.credits.used.insert(account.to_owned(), percent));
    }

    /// What the next redemption is answered with in place of the truth: a status, and a code where it is not empty. Nothing is spent.
    pub fn credit_answer_next(&self, status: u16, code: &str) {
        self.shared.update(|state| state.credits.answers.push_back(Some((status, code.to_owned()))));
    }

    /// Cuts the connection of the next redemption once it was carried out.
    pub fn credit_cut_next(&self) {
        self.shared.update(|state| state.credits.answers.push_back(None));
    }

    /// Replaces the rules of the token endpoint.
    pub fn token_policy_set(&self, policy: TokenPolicy) {
        self.shared.update(|state| state.policy = policy);
    }

    /// Queues a fault for the next request to the token endpoint that has none; several apply in order.
    pub fn token_fault_next(&self, fault: TokenFault) {
        self.shared.update(|state| state.token_faults.push_back(fault));
    }

    /// Queues a fault for the next POST to a model with a good credential, whoever sends it.
    pub fn llm_fault_next(&self, fault: LlmFault) {
        self.shared.update(|state| state.llm_faults.push_back(fault));
    }

    /// Queues a fault for this many POSTs of the account to a model; `u32::MAX` is for ever.
    pub fn llm_fault_for(&self, account: &str, fault: LlmFault, times: u32) {
        if times == 0 {
            return;
        }
        self.shared.update(|state| {
            state.account_faults.entry(account.to_owned()).or_default().push_back((fault, times));
        });
    }

    /// Forgets every queued fault of the model side.
    pub fn llm_faults_clear(&self) {
        self.shared.update(|state| {
            state.llm_faults.clear();
            state.account_faults.clear();
        });
    }

    /// Sets how many text deltas a stream has (default 5) and the pause before each event, in milliseconds (default 0).
    pub fn stream_events_set(&self, events: usize, delay_ms: u64) {
        self.shared.update(|state| state.pace = Pace { events: events.max(1), delay_ms });
    }

    /// Releases every answer that is held now; [`crate::Ledger::held`] says how many there are.
    pub fn release(&self) {
        self.shared.release();
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}
