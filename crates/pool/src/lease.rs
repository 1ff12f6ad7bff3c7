//! Admit and lease: what every request passes, without I/O, and without a lock while no token is due.

use crate::account::{AccountLive, Obstacle, Reach};
use crate::flight::{self, FlightWait};
use crate::grant::Moment;
use crate::limits::VALUE_PATIENCE;
use crate::report::ProbeSink;
use crate::sticky::sticky_key;
use crate::view::View;
use crate::{Inner, Pool};
use claviger_contract::{
    Admission, AdmissionSink, Answer, Ask, AttemptFacts, AttemptSink, Broker, Denial, Lease, Readiness, Refusal, Routes,
};
use claviger_domain::block::BlockEnd;
use claviger_domain::credential::{GrantState, Standing};
use claviger_domain::profile::ProviderProfile;
use claviger_domain::refresh::{Due, Want};
use claviger_domain::select::Wanted;
use claviger_domain::session::SessionHash;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Presented;
use std::net::IpAddr;
use std::sync::Arc;

/// What an account can do for a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fitness {
    /// Its credential can be sent.
    Ready,
    /// Its credential can be sent, and is due: a refresh is begun beside it.
    ReadyAndDue,
    /// It must be refreshed first.
    Refresh(Want),
    /// It cannot serve.
    Unfit(Unfit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfit {
    /// Not for this request: another key's, tried before, switched off.
    Excluded,
    /// It serves the vendor's own client alone, and another one asks.
    OwnClientOnly,
    NeedsLogin,
    Quarantined,
    OriginChanged,
    Blocked(Timestamp, BlockEnd),
    Resting(Timestamp),
}

impl Broker for Pool {
    type Pending = FlightWait;

    fn admit(&self, key: &Presented<'_>, _peer: Option<IpAddr>) -> Result<Admission, Refusal> {
        let view = self.inner.view.load();
        let entry = view.keys.get(&key.accessor).filter(|entry| entry.grant.kind == key.kind && entry.is(key, &self.inner.keys));
        let entry = entry.ok_or(Denial::Unknown)?;
        if entry.revoked_at.is_some() {
            return Err(Denial::Revoked.into());
        }
        if !entry.is_active(&*self.inner.clock) {
            return Err(Denial::Expired.into());
        }
        entry.usage.begin();
        let sink: Arc<dyn AdmissionSink> = entry.usage.clone();
        Ok(Admission::new(Arc::clone(&entry.grant), sink))
    }

    fn lease<'ask>(&self, ask: &'ask Ask<'_>) -> Answer<'ask, FlightWait> {
        let view = self.inner.view.load();
        let moment = Moment::of(&*self.inner.clock);
        let key = ask.admission.key();
        if !key.admits_provider(ask.provider) {
            return Answer::Refused(Denial::Provider { provider: ask.provider.clone() }.into());
        }
        let session = ask.session.map(|session| sticky_key(ask.provider, session));
        let chosen = self.inner.choose(&view, ask, session, moment);
        let Some((account, fitness)) = chosen else {
            return self.inner.refuse_or_probe(&view, ask, session, moment);
        };
        self.inner.serve(account, fitness, session)
    }

    fn readiness(&self) -> Readiness {
        let view = self.inner.view.load();
        let in_use = |account: &&Arc<AccountLive>| account.row.standing == Standing::Active;
        let quarantined = |account: &Arc<AccountLive>| account.quarantine(&account.grant.facts()).is_some();
        if view.accounts.values().filter(in_use).any(quarantined) { Readiness::Degraded } else { Readiness::Whole }
    }

    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.inner.view.load().routes)
    }
}

impl Inner {
    /// Gives what an account can do for a request.
    fn serve<'ask>(self: &Arc<Self>, account: &Arc<AccountLive>, fitness: Fitness, session: Option<u64>) -> Answer<'ask, FlightWait> {
        match fitness {
            Fitness::Refresh(want) => Answer::Pending(flight::wait(flight::join(self, &account.grant, &account.profile, want))),
            Fitness::ReadyAndDue => {
                drop(flight::join(self, &account.grant, &account.profile, Want::IfDue { due: Due::Request }));
                Answer::Ready(self.hand_out(account, session))
            }
            Fitness::Ready | Fitness::Unfit(_) => Answer::Ready(self.hand_out(account, session)),
        }
    }

    /// The account for a request: the one where its session is warm, else by the order.
    fn choose<'view>(
        &self,
        view: &'view View,
        ask: &Ask<'_>,
        session: Option<u64>,
        moment: Moment,
    ) -> Option<(&'view Arc<AccountLive>, Fitness)> {
        let provider = view.providers.get(ask.provider)?;
        let mut found = None;
        let mut usable = |account: &'view Arc<AccountLive>| match fitness(account, ask, moment) {
            Fitness::Unfit(_) => false,
            fit => {
                found = Some((account, fit));
                true
            }
        };
        match ask.account {
            Some(wanted) => provider.by_id(wanted).filter(|account| usable(account))?,
            None => provider.choose(ask.model, &self.wanted(provider.profile(), session, ask.seed, moment), usable)?,
        };
        found
    }

    /// What a request of this session brings to the choice.
    pub(crate) fn wanted(&self, profile: &ProviderProfile, session: Option<u64>, seed: u64, moment: Moment) -> Wanted {
        let pin = session.and_then(|session| self.sticky().get(session));
        Wanted { session: session.map(SessionHash), pin, cache_life: profile.prompt_cache_life, seed, now: moment.now }
    }

    pub(crate) fn hand_out<'ask>(&self, account: &Arc<AccountLive>, session: Option<u64>) -> Lease<'ask> {
        hand_out(account, session, self.attempt_sink())
    }

    /// No account fits: says why, or lets one probe through where the end of a block is a guess.
    fn refuse_or_probe<'ask>(
        self: &Arc<Self>,
        view: &View,
        ask: &Ask<'_>,
        session: Option<u64>,
        moment: Moment,
    ) -> Answer<'ask, FlightWait> {
        let provider = ask.provider.clone();
        // Only accounts of the rung that won: no probe goes to a source that the cascade did not choose.
        let ranked = view.providers.get(ask.provider).map(|provider| provider.ranked(ask.model)).unwrap_or_default();
        let asked = ranked.into_iter().filter(|account| ask.account.is_none_or(|wanted| wanted == account.row.id));
        let unfit: Vec<(&Arc<AccountLive>, Unfit)> = asked
            .filter_map(|account| match fitness(account, ask, moment) {
                Fitness::Unfit(unfit) => Some((account, unfit)),
                _ => None,
            })
            .collect();
        let mut blocked: Vec<_> = unfit
            .iter()
            .filter_map(|(account, unfit)| match unfit {
                Unfit::Blocked(until, end) => Some((*until, *end, *account)),
                _ => None,
            })
            .collect();
        blocked.sort_by_key(|(until, _, account)| (*until, account.row.id));
        for (_, _, account) in blocked.iter().filter(|(_, end, _)| *end == BlockEnd::Guessed) {
            match bearer_fitness(account, ask, moment) {
                // Nothing of it can be sent, blocked or not; or this very request was refused already.
                Fitness::Unfit(_) | Fitness::Refresh(Want::NewerThan(_)) => {}
                // The probe itself comes after the refresh.
                refresh @ Fitness::Refresh(Want::IfDue { .. }) => return self.serve(account, refresh, session),
                fit => {
                    if let Some(probe) = account.blocks.take_probe(ask.model, moment.boot) {
                        if fit == Fitness::ReadyAndDue {
                            drop(flight::join(self, &account.grant, &account.profile, Want::IfDue { due: Due::Request }));
                        }
                        let sink = Arc::new(ProbeSink::new(Arc::downgrade(self), probe));
                        return Answer::Ready(hand_out(account, session, sink));
                    }
                }
            }
        }
        if let Some((until, ..)) = blocked.first() {
            return Answer::Refused(Refusal::AllBlocked { provider, retry_at: *until });
        }
        let resting = unfit.iter().filter_map(|(_, unfit)| match unfit {
            Unfit::Resting(until) => Some(*until),
            _ => None,
        });
        if let Some(until) = resting.min() {
            return Answer::Refused(flight::resting_refusal(&provider, until));
        }
        if let Some((account, _)) = unfit.iter().find(|(_, unfit)| *unfit == Unfit::Quarantined) {
            return Answer::Refused(Refusal::Quarantined { provider, account: account.row.id });
        }
        if unfit.iter().any(|(account, unfit)| *unfit == Unfit::NeedsLogin && self.is_value_awaited(account.row.grant)) {
            let why = "its key is still being fetched".to_owned();
            return Answer::Refused(Refusal::Unavailable { provider, why, retry_at: moment.now.plus(VALUE_PATIENCE) });
        }
        if unfit.iter().any(|(_, unfit)| *unfit == Unfit::NeedsLogin) {
            return Answer::Refused(Refusal::NeedsLogin { provider });
        }
        if let Some((account, _)) = unfit.iter().find(|(_, unfit)| *unfit == Unfit::OriginChanged) {
            return Answer::Refused(Refusal::OriginChanged { provider, account: account.row.id });
        }
        if let Some((account, _)) = unfit.iter().find(|(_, unfit)| *unfit == Unfit::OwnClientOnly) {
            return Answer::Refused(Refusal::OwnClientOnly { provider, account: account.row.id });
        }
        Answer::Refused(Refusal::NoCredential { provider })
    }
}

/// What an account can do for a request now. Pure: facts in, verdict out.
/// An account for one request, whose end `sink` hears.
fn hand_out<'ask>(account: &Arc<AccountLive>, session: Option<u64>, sink: Arc<dyn AttemptSink>) -> Lease<'ask> {
    let facts = AttemptFacts {
        account: account.row.id,
        grant: account.row.grant,
        revision: account.cell.revision(),
        kind: account.kind,
        provider: Arc::clone(&account.profile),
        session: session.map(SessionHash),
        proxy: account.row.options.proxy.clone(),
        origin: account.origin.clone(),
    };
    Lease::new(facts, Arc::clone(&account.cell), Arc::clone(&account.allowed), sink)
}

fn fitness(account: &AccountLive, ask: &Ask<'_>, moment: Moment) -> Fitness {
    let row = &account.row;
    if row.standing != Standing::Active || !ask.admission.key().admits_account(row.id) {
        return Fitness::Unfit(Unfit::Excluded);
    }
    if !account.answers_to(ask.model_prefix) {
        return Fitness::Unfit(Unfit::Excluded);
    }
    if !ask.own_client && account.own_client_only {
        return Fitness::Unfit(Unfit::OwnClientOnly);
    }
    match account.reach {
        Reach::Admitted => {}
        Reach::OriginChanged => return Fitness::Unfit(Unfit::OriginChanged),
        // A key by reference that cannot be had.
        Reach::Unusable if matches!(account.grant.facts().state, GrantState::NeedsLogin { .. }) => {
            return Fitness::Unfit(Unfit::NeedsLogin);
        }
        Reach::Unusable => return Fitness::Unfit(Unfit::Excluded),
    }
    if let Some(Obstacle::Blocked { until, end }) = account.obstacle(ask.model, moment) {
        return Fitness::Unfit(Unfit::Blocked(until, end));
    }
    bearer_fitness(account, ask, moment)
}

/// What the credential of an account that may be picked can do for a request now.
fn bearer_fitness(account: &AccountLive, ask: &Ask<'_>, moment: Moment) -> Fitness {
    if ask.attempts.made().is_empty() && account.grant.is_fresh(moment) {
        return Fitness::Ready;
    }
    let row = &account.row;
    let facts = account.grant.facts();
    let sendable = facts.is_sendable(moment);
    let dead = matches!(facts.state, GrantState::NeedsLogin { .. });
    // The last token of a dead grant serves until it ends or is refused.
    if dead && (!sendable || account.grant.was_refused(facts.revision)) {
        return Fitness::Unfit(Unfit::NeedsLogin);
    }
    let revision = account.cell.revision();
    let resting = account.grant.resting(moment);
    let renewable = account.is_renewable(&facts, resting);
    if !ask.attempts.allows(row.id, row.grant, revision) {
        // Refused at this very revision, and not tried with a newer one yet: a refresh may help, once.
        let newer_allowed = ask.attempts.refused(row.grant) == Some(revision) && ask.attempts.allows(row.id, row.grant, revision.next());
        return match resting {
            _ if !newer_allowed || !renewable => Fitness::Unfit(Unfit::Excluded),
            None => Fitness::Refresh(Want::NewerThan(revision)),
            Some(until) => Fitness::Unfit(Unfit::Resting(until)),
        };
    }
    match (sendable, facts.is_due(moment), renewable, resting) {
        (true, true, true, None) => Fitness::ReadyAndDue,
        (true, ..) => Fitness::Ready,
        (false, _, true, None) => Fitness::Refresh(Want::IfDue { due: Due::Request }),
        (false, _, true, Some(until)) => Fitness::Unfit(Unfit::Resting(until)),
        (false, _, false, _) if account.quarantine(&facts).is_some() => Fitness::Unfit(Unfit::Quarantined),
        (false, _, false, _) if account.refresh_reach == Reach::OriginChanged => Fitness::Unfit(Unfit::OriginChanged),
        (false, _, false, _) => Fitness::Unfit(Unfit::NeedsLogin),
    }
}
