//! What came of attempts: sessions are pinned, accounts are set aside. Runs on the request's task and never waits.

use crate::Inner;
use crate::account::{AccountLive, Probe, Reach};
use crate::grant::Moment;
use crate::supervise::Behind;
use crate::usage::heal::UNDER_WAY;
use claviger_contract::{AttemptFacts, AttemptSink, Report};
use claviger_domain::block::{Block, BlockCause, BlockEnd, BlockScope, POLICY_GUESS, QUOTA_GUESS, RATE_LIMIT_GUESS, UNAUTHORIZED_GUESS};
use claviger_domain::classify::Class;
use claviger_domain::credential::{CredentialKind, GrantState};
use claviger_domain::time::Timestamp;
use claviger_providers::usage::from_headers;
use claviger_store::StickyRow;
use http::{HeaderMap, StatusCode};
use std::sync::{Arc, Weak};

/// Hears what came of attempts.
#[derive(Debug)]
pub(crate) struct PoolSink(Weak<Inner>);

impl PoolSink {
    pub(crate) fn new(inner: Weak<Inner>) -> Self {
        Self(inner)
    }
}

impl AttemptSink for PoolSink {
    fn answered(&self, facts: &AttemptFacts, status: StatusCode, headers: &HeaderMap) {
        let Some(inner) = self.0.upgrade() else { return };
        let moment = Moment::of(&*inner.clock);
        let view = inner.view.load();
        let Some(account) = view.accounts.get(&facts.account) else { return };
        account.usage.note_served(moment.boot);
        if let Some(told) = from_headers(&facts.provider, status, headers, moment.now) {
            inner.usage_told(account, told, moment, moment.boot.saturating_sub(UNDER_WAY));
        }
        inner.cost_told(facts, headers);
    }

    fn ended(&self, facts: &AttemptFacts, report: &Report) {
        let (Some(inner), Report::Seen(class)) = (self.0.upgrade(), report) else { return };
        let now = inner.clock.now();
        match class {
            Class::Accepted => inner.accepted(facts, now),
            Class::UsageLimit { scope, until } => inner.set_aside(facts, scope, ended_at(*until, now, QUOTA_GUESS), BlockCause::Quota),
            Class::Policy { scope } => {
                inner.set_aside(facts, scope, ended_at(None, now, POLICY_GUESS), BlockCause::Policy);
            }
            Class::RateLimited { until } => {
                let end = ended_at(*until, now, RATE_LIMIT_GUESS);
                inner.set_aside(facts, &BlockScope::Account, end, BlockCause::RateLimit);
            }
            Class::Unauthorized if inner.refused_for_good(facts) => {
                inner.values.note_suspect(facts.grant);
                let end = ended_at(None, now, UNAUTHORIZED_GUESS);
                inner.set_aside(facts, &BlockScope::Account, end, BlockCause::Credential);
            }
            Class::Unauthorized | Class::Concurrency | Class::Capacity | Class::Unrelated | Class::Unreachable | Class::Lost => {}
        }
    }
}

/// Hears what came of a request that was let through to an account that is set aside. What comes of others says nothing of blocks.
#[derive(Debug)]
pub(crate) struct ProbeSink {
    pool: PoolSink,
    probe: Probe,
}

impl ProbeSink {
    pub(crate) fn new(inner: Weak<Inner>, probe: Probe) -> Self {
        Self { pool: PoolSink::new(inner), probe }
    }
}

impl AttemptSink for ProbeSink {
    fn answered(&self, facts: &AttemptFacts, status: StatusCode, headers: &HeaderMap) {
        self.pool.answered(facts, status, headers);
    }

    fn ended(&self, facts: &AttemptFacts, report: &Report) {
        self.pool.ended(facts, report);
        let (Some(inner), Report::Seen(Class::Accepted)) = (self.pool.0.upgrade(), report) else { return };
        if let Some(account) = inner.view.load().accounts.get(&facts.account) {
            inner.heal_by_probe(account, &self.probe, Moment::of(&*inner.clock));
        }
    }
}

fn ended_at(told: Option<Timestamp>, now: Timestamp, guess: std::time::Duration) -> (Timestamp, BlockEnd) {
    told.map_or((now.plus(guess), BlockEnd::Guessed), |until| (until, BlockEnd::Told))
}

impl Inner {
    pub(crate) fn attempt_sink(&self) -> Arc<dyn AttemptSink> {
        Arc::clone(self.attempt_sink.get_or_init(|| Arc::new(PoolSink(Weak::new()))))
    }

    /// The session stays with the account that has answered it: its prompt cache is warm there.
    fn accepted(&self, facts: &AttemptFacts, now: Timestamp) {
        let view = self.view.load();
        if let Some(grant) = view.grants.get(&facts.grant) {
            grant.note_accepted();
        }
        drop(view);
        let Some(session) = facts.session else { return };
        if self.sticky().put(session.0, facts.account, now) {
            let row = StickyRow { provider: facts.provider.id.clone(), session: session.0, account: facts.account, used_at: now };
            self.writes.push(Behind::Sticky(row));
        }
    }

    /// One refusal proves little. A key that is refused, or a token that is refused right after the refresh of a refused one, rests.
    fn refused_for_good(&self, facts: &AttemptFacts) -> bool {
        let view = self.view.load();
        let Some(account) = view.accounts.get(&facts.account) else { return false };
        if account.grant.facts().state != GrantState::Live {
            // No refresh will note it: the last token of a dead grant is refused, and a new login brings another revision.
            account.grant.note_refused(facts.revision);
            return false;
        }
        match facts.kind {
            CredentialKind::ApiKey => account.cell.revision() == facts.revision,
            CredentialKind::OAuth => {
                // No refresh follows in quarantine, or to an endpoint that has moved: the token is refused like a key.
                let held = account.quarantine(&account.grant.facts()).is_some() || account.refresh_reach != Reach::Admitted;
                (held || account.grant.follows_refusal(facts.revision)) && account.cell.revision() == facts.revision
            }
        }
    }

    fn set_aside(&self, facts: &AttemptFacts, scope: &BlockScope, (until, end): (Timestamp, BlockEnd), cause: BlockCause) {
        let view = self.view.load();
        let Some(account) = view.accounts.get(&facts.account) else { return };
        let block = Block { scope: scope.clone(), until, end, reason: cause.reason().to_owned() };
        self.block(account, &block, Moment::of(&*self.clock));
    }

    /// Sets a part of an account aside, at once for requests and soon in the vault.
    pub(crate) fn block(&self, account: &AccountLive, block: &Block, moment: Moment) {
        let block = account.blocks.put(block, moment);
        let (id, provider, reason) = (account.row.id, &account.profile.id, &block.reason);
        tracing::info!(account.id = %id, provider.id = %provider, scope = %block.scope, until = block.until.0, reason, "account set aside");
        self.care.mark();
        self.usage_changes.mark(provider);
        self.writes.push(Behind::Block { account: id, block, blocks: Arc::clone(&account.blocks) });
    }
}
