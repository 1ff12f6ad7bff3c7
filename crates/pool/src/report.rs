//! What came of attempts: sessions are pinned, accounts are set aside. Runs on the request's task and never waits.

use crate::Inner;
use crate::account::Reach;
use crate::grant::Moment;
use crate::supervise::Behind;
use claviger_contract::{AttemptFacts, AttemptSink, Report};
use claviger_domain::block::{Block, BlockEnd, BlockScope, POLICY_GUESS, QUOTA_GUESS, RATE_LIMIT_GUESS, UNAUTHORIZED_GUESS};
use claviger_domain::classify::Class;
use claviger_domain::credential::{CredentialKind, GrantState};
use claviger_domain::time::Timestamp;
use claviger_store::StickyRow;
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
    fn ended(&self, facts: &AttemptFacts, report: &Report) {
        let (Some(inner), Report::Seen(class)) = (self.0.upgrade(), report) else { return };
        let now = inner.clock.now();
        match class {
            Class::Accepted => inner.accepted(facts, now),
            Class::UsageLimit { scope, until } => inner.set_aside(facts, scope, ended_at(*until, now, QUOTA_GUESS), "a quota is used up"),
            Class::Policy { scope } => {
                inner.set_aside(facts, scope, ended_at(None, now, POLICY_GUESS), "the provider refuses this account");
            }
            Class::RateLimited { until } => {
                let end = ended_at(*until, now, RATE_LIMIT_GUESS);
                inner.set_aside(facts, &BlockScope::Account, end, "too many requests in a short time");
            }
            Class::Unauthorized if inner.refused_for_good(facts) => {
                let end = ended_at(None, now, UNAUTHORIZED_GUESS);
                inner.set_aside(facts, &BlockScope::Account, end, "the provider refuses its credential");
            }
            Class::Unauthorized | Class::Concurrency | Class::Capacity | Class::Unrelated | Class::Unreachable | Class::Lost => {}
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
        if let Some(grant) = self.view.load().grants.get(&facts.grant) {
            grant.note_accepted();
        }
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

    fn set_aside(&self, facts: &AttemptFacts, scope: &BlockScope, (until, end): (Timestamp, BlockEnd), reason: &str) {
        let view = self.view.load();
        let Some(account) = view.accounts.get(&facts.account) else { return };
        let block = account.blocks.put(&Block { scope: scope.clone(), until, end, reason: reason.to_owned() }, Moment::of(&*self.clock));
        tracing::info!(account.id = %facts.account, provider.id = %facts.provider.id, scope = %block.scope, until = block.until.0, reason, "account set aside");
        self.writes.push(Behind::Block { account: facts.account, block, blocks: Arc::clone(&account.blocks) });
    }
}
