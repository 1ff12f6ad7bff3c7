//! Takes over what was told of an account. Runs on the task that heard it: no lock, no wait, no I/O.

use super::effects::{Effect, Told};
use super::heal::{Proof, asked_for, disproves};
use crate::Inner;
use crate::account::{AccountLive, Probe};
use crate::grant::Moment;
use crate::limits::{CLOCK_STEP_MIN, USAGE_HEADERS_INTERVAL, USAGE_HISTORY_INTERVAL};
use crate::supervise::Behind;
use claviger_domain::block::Block;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{UsageReport, UsageSource};
use std::sync::Arc;
use std::time::Duration;

impl Inner {
    /// Takes over a report of an account: its limits replace those of the same id, and what that says of blocks is done at once.
    ///
    /// Headers that change the status of no limit are taken over at most once in [`USAGE_HEADERS_INTERVAL`], so that a busy
    /// account costs no more than an idle one. `known_at` is when the provider knew it, on the boot clock.
    pub(crate) fn usage_told(&self, account: &AccountLive, told: UsageReport, moment: Moment, known_at: Duration) {
        let now = moment.now;
        let usage = &account.usage;
        let changes = usage.report().is_none_or(|known| changes_status(&known, &told, now));
        let has_turn = usage.take_turn(moment.boot, USAGE_HEADERS_INTERVAL);
        if told.source == UsageSource::Headers && !changes && !has_turn {
            return;
        }
        let (before, after) = usage.replace(|known| match known {
            // One from the future was told before the wall clock was set back, and would outlast all that follows.
            Some(known) if known.observed_at <= now.plus(CLOCK_STEP_MIN) => known.clone().merged(told.clone(), now),
            _ => told.clone(),
        });
        self.usage_changes.mark(&account.profile.id);
        let proof = Proof { told: &told, known: &after, families: &account.profile.families, known_at };
        let lifted = account.blocks.lift(moment, |block, met| disproves(proof, block, met.boot));
        self.lifted(account, lifted, "a report of usage shows that something is left");
        for block in asked_for(&told, now) {
            let is_new = !account.blocks.current(moment).iter().any(|held| held.scope == block.scope && held.until >= block.until);
            if is_new {
                self.block(account, &block, moment);
            }
        }
        let is_due = changes || told.source == UsageSource::Endpoint || usage.take_history_turn(moment.boot, USAGE_HISTORY_INTERVAL);
        let (id, provider) = (account.row.id, account.profile.id.clone());
        self.usage_effects.push(Effect::Told(Box::new(Told { account: id, provider, before, after, told, is_recorded: is_due, now })));
    }

    /// A probe was accepted: lifts the guessed blocks that stood in its way.
    pub(crate) fn heal_by_probe(&self, account: &AccountLive, probe: &Probe, moment: Moment) {
        let lifted = account.blocks.lift_probed(probe, &account.profile.families, moment);
        self.lifted(account, lifted, "a probe was accepted");
    }

    fn lifted(&self, account: &AccountLive, lifted: Vec<Block>, why: &'static str) {
        for block in lifted {
            tracing::info!(account.id = %account.row.id, provider.id = %account.profile.id, scope = %block.scope, why, "block lifted");
            self.writes.push(Behind::Lift { account: account.row.id, scope: block.scope, blocks: Arc::clone(&account.blocks) });
            self.care.mark();
            self.usage_changes.mark(&account.profile.id);
        }
    }

    /// Windows that have ended since they were told: what was left of them is noted as wasted, and they count as unused.
    pub(crate) fn usage_rollover(&self, account: &AccountLive, now: Timestamp) {
        let has_ended = |known: &Arc<UsageReport>| known.limits.iter().any(|limit| limit.is_over(now));
        if !account.usage.report().is_some_and(|known| has_ended(&known)) {
            return;
        }
        let (before, after) = account.usage.replace(|known| match known {
            Some(known) => UsageReport { limits: known.limits.iter().map(|limit| limit.as_of(now)).collect(), ..known.clone() },
            None => UsageReport { limits: Vec::new(), plan: None, observed_at: now, source: UsageSource::Headers },
        });
        self.usage_changes.mark(&account.profile.id);
        let told = UsageReport { limits: Vec::new(), ..UsageReport::clone(&after) };
        let (id, provider) = (account.row.id, account.profile.id.clone());
        self.usage_effects.push(Effect::Told(Box::new(Told { account: id, provider, before, after, told, is_recorded: false, now })));
    }
}

/// Whether what was told makes any limit stand otherwise than it is known to.
fn changes_status(known: &UsageReport, told: &UsageReport, now: Timestamp) -> bool {
    told.limits.iter().any(|limit| known.limit(&limit.id).is_none_or(|known| known.status_at(now) != limit.status_at(now)))
}
