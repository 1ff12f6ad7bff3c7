//! One refresh: carries out the effects of `domain::refresh`, one after the other, under the grant's lock.

use crate::Inner;
use crate::grant::{GrantLive, Moment};
use crate::limits::{LOCK_POLL, LOCK_WAIT_MAX};
use claviger_domain::credential::{Custody, GrantState};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision, UNSTORED_IDS_FROM};
use claviger_domain::origin::Purpose;
use claviger_domain::profile::{ProviderProfile, RefreshRule};
use claviger_domain::refresh::{AnswerKind, Claim, Effect, Event, Failure, GrantFacts, IntentFacts, Outcome, State, Want, step};
use claviger_domain::time::Timestamp;
use claviger_egress::{FirstByte, FreshConnection};
use claviger_oauth::{RawParts, RefreshToken, TokenAnswer, read_answer, refresh_request};
use claviger_runtime::{best_effort, random_u128};
use claviger_store::{GrantCommit, GrantLock, GrantRow, GrantSecret, IntentRow, RowFaultKind, SpillRecord, StoreError, Write};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The places where a test may stop, delay or fail a refresh, in order.
pub const FAILPOINTS: [&str; 13] = [
    "lock.taken",
    "refresh.loaded",
    "refresh.connected",
    "spill.created",
    "intent.journalled",
    "answer.received",
    "answer.spilled",
    "answer.read",
    "grant.stored",
    "grant.reloaded",
    "grant.published",
    "spill.removed",
    "lock.freed",
];

/// Refreshes a grant, or finds that there is nothing to do. Runs as a task of its own; cancelled only with the process, whose
/// orderly end waits for it ([`crate::limits::FLIGHT_END_WITHIN`]) and lets it send nothing new.
///
/// Gives the lock back with the outcome, if it came by it: what the outcome means is noted before somebody else changes the grant.
pub(crate) async fn run(
    inner: &Arc<Inner>,
    grant: &Arc<GrantLive>,
    profile: &Arc<ProviderProfile>,
    want: Want,
) -> (Outcome, Option<GrantLock>) {
    if grant.id.0 >= UNSTORED_IDS_FROM {
        return (crate::ambient::renew(inner, grant, profile, want).await, None);
    }
    let lock = match lock(inner, grant.id, LOCK_WAIT_MAX).await {
        Ok(Some(lock)) => lock,
        Ok(None) => return (without_lock(inner, grant, want).await, None),
        Err(error) => return (storage_failure(grant.id, &error), None),
    };
    let mut flight =
        Flight { inner, grant, profile, row: None, connection: None, attempt: None, journalled: BTreeSet::new(), token: None, death: None };
    if flight.pass("lock.taken").await.is_err() {
        return (Outcome::Failed { why: Failure::Storage, retry_at: None }, Some(lock));
    }
    (flight.fly(want).await, Some(lock))
}

/// Who holds the lock does not give it back: it may have stored the new secret all the same, and stands still since.
async fn without_lock(inner: &Inner, grant: &GrantLive, want: Want) -> Outcome {
    match inner.store.grant_load(grant.id).await {
        Ok(row) => {
            if let Some(row) = row {
                inner.publish(grant, &row);
            }
            let found = grant.facts().satisfies(want, Moment::of(&*inner.clock));
            if found { Outcome::Adopted } else { Outcome::Failed { why: Failure::PutOff, retry_at: None } }
        }
        Err(error) => storage_failure(grant.id, &error),
    }
}

/// Takes the lock of a grant among all processes, waiting by the clock. `None` where the wait was in vain.
pub(crate) async fn lock(inner: &Inner, grant: GrantId, patience: Duration) -> Result<Option<GrantLock>, StoreError> {
    let begun = inner.clock.boot();
    loop {
        if let Some(lock) = inner.store.grant_lock(grant)? {
            return Ok(Some(lock));
        }
        // The end of the process waits for what was sent, not for what was not.
        if inner.supervisor.is_stopping() || inner.clock.boot().saturating_sub(begun) >= patience {
            return Ok(None);
        }
        inner.clock.sleep(LOCK_POLL).await;
    }
}

fn storage_failure(grant: GrantId, error: &StoreError) -> Outcome {
    tracing::error!(grant.id = %grant, error = %error, "the vault failed during a refresh");
    Outcome::Failed { why: Failure::Storage, retry_at: None }
}

struct Flight<'a> {
    inner: &'a Arc<Inner>,
    grant: &'a Arc<GrantLive>,
    profile: &'a Arc<ProviderProfile>,
    /// The grant as it was read under the lock.
    row: Option<GrantRow>,
    connection: Option<FreshConnection>,
    attempt: Option<AttemptId>,
    /// Every attempt of the open intent, this flight's and earlier ones.
    journalled: BTreeSet<AttemptId>,
    /// The new token with the instant of its request.
    token: Option<(TokenAnswer, Timestamp)>,
    /// The attempt whose answer says that the grant is dead.
    death: Option<AttemptId>,
}

impl Flight<'_> {
    async fn fly(&mut self, want: Want) -> Outcome {
        let row = match self.inner.store.grant_load(self.grant.id).await {
            Ok(Some(row)) => row,
            Ok(None) => return Outcome::Adopted,
            Err(error) => return storage_failure(self.grant.id, &error),
        };
        if let Custody::Followed { path } = &row.custody {
            let path = path.clone();
            return crate::follow::renew(self.inner, self.grant, self.profile, row, &path).await;
        }
        let Some(rule) = self.profile.refresh.clone() else {
            return self.adopt(&row);
        };
        if !matches!(&row.secret, GrantSecret::OAuth { refresh: Some(_), .. }) {
            return self.adopt(&row);
        }
        if !self.profile.origins_admitted(&row.origins, Purpose::Token) {
            tracing::error!(grant.id = %self.grant.id, "the token endpoint is not the one that this grant was stored for: if the new one is meant, claviger account rebind ID");
            return Outcome::Failed { why: Failure::PutOff, retry_at: None };
        }
        if let Some(outcome) = crate::follow::held_back(self.inner, self.grant, self.profile, &row).await {
            return outcome;
        }
        let event = match self.loaded_event(&row, &rule).await {
            Ok(event) => event,
            Err(error) => return storage_failure(self.grant.id, &error),
        };
        self.journalled.extend(row.intent.iter().flat_map(|intent| &intent.attempts));
        self.row = Some(row);
        if self.pass("refresh.loaded").await.is_err() {
            return Outcome::Failed { why: Failure::Storage, retry_at: None };
        }
        self.drive(&rule, want, event).await
    }

    async fn drive(&mut self, rule: &RefreshRule, want: Want, first: Event) -> Outcome {
        let (mut state, mut effect) = step(State::new(want), first, self.inner.clock.now());
        loop {
            let event = match effect {
                Effect::Connect => self.connect(rule).await,
                Effect::Journal => self.journal().await,
                Effect::Send => self.send(rule).await,
                Effect::ReadSpill(attempt) => self.read_spill(rule, attempt).await,
                Effect::Withdraw => self.withdraw().await,
                Effect::Store => self.store().await,
                Effect::Bury { cause } => self.bury(cause).await,
                Effect::Finish(outcome) => return self.finish(outcome).await,
            };
            (state, effect) = step(state, event, self.inner.clock.now());
        }
    }

    async fn pass(&self, site: &'static str) -> Result<(), String> {
        self.inner.failpoints.pass(site).await
    }

    async fn loaded_event(&self, row: &GrantRow, rule: &RefreshRule) -> Result<Event, StoreError> {
        // As requests see it: a token that they no longer send is due here too, wherever the wall clock stands.
        self.inner.publish(self.grant, row);
        let facts = self.grant.facts();
        let span = facts.span(Moment::of(&*self.inner.clock)).filter(|_| facts.revision == row.revision);
        let grant = GrantFacts {
            revision: row.revision,
            issued_at: span.map_or(row.issued_at, |(issued_at, _)| issued_at),
            expires_at: span.map_or(row.expires_at, |(_, end)| Some(end)),
            dead: matches!(row.state, GrantState::NeedsLogin { .. }),
            rotation: rule.rotation,
            claim: row.quarantined.map_or(Claim::Ours, |since| Claim::Quarantined { since }),
        };
        let Some(intent) = &row.intent else {
            return Ok(Event::Loaded { grant, intent: None });
        };
        let mut answered = None;
        for attempt in &intent.attempts {
            if self.answer_in(row.id, intent.from, *attempt).await?.is_some() {
                answered = Some(*attempt);
            }
        }
        let attempts = u32::try_from(intent.attempts.len()).unwrap_or(u32::MAX);
        let intent = IntentFacts { from: intent.from, opened_at: intent.opened_at, attempts, answered };
        Ok(Event::Loaded { grant, intent: Some(intent) })
    }

    /// The answer in a slot. A torn one was never synced and is none; one that cannot be read now may be whole, so that to
    /// take it for lost would send its refresh token again.
    async fn answer_in(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Result<Option<SpillRecord>, StoreError> {
        match self.inner.store.spill_read(grant, from, attempt).await {
            Err(StoreError::Row(fault)) if fault.kind != RowFaultKind::UnknownKey => {
                tracing::error!(grant.id = %grant, row = %fault, "an answer in its slot is torn or damaged");
                Ok(None)
            }
            read => read,
        }
    }

    fn from(&self) -> GrantRevision {
        self.row.as_ref().map_or(GrantRevision::FIRST, |row| row.revision)
    }

    async fn connect(&mut self, rule: &RefreshRule) -> Event {
        if self.inner.supervisor.is_stopping() {
            return Event::Unreachable;
        }
        let allowed = self.profile.origins.of(Purpose::Token);
        match self.inner.egress.through(self.inner.view.load().proxy_of(self.grant.id).as_ref()).connect(&rule.url.origin, allowed).await {
            Ok(connection) if self.pass("refresh.connected").await.is_ok() => {
                self.connection = Some(connection);
                Event::Connected
            }
            Ok(_) => Event::Unreachable,
            Err(error) => {
                tracing::warn!(grant.id = %self.grant.id, error = %error, "the token endpoint cannot be reached");
                Event::Unreachable
            }
        }
    }

    async fn journal(&mut self) -> Event {
        let Some(row) = &self.row else { return Event::NotJournalled };
        let attempt = AttemptId(random_u128());
        let (grant, from, fingerprint) = (row.id, row.revision, row.fingerprint);
        if let Err(error) = self.inner.store.spill_create(grant, from, attempt).await {
            tracing::error!(grant.id = %grant, error = %error, "no slot for an answer: nothing is sent");
            return Event::NotJournalled;
        }
        if self.pass("spill.created").await.is_err() {
            return Event::NotJournalled;
        }
        let opened_at = self.inner.clock.now();
        let intent = IntentRow { from, fingerprint, attempts: vec![attempt], instance: self.inner.instance, opened_at };
        let written = self.inner.store.intent_open(grant, from, intent).await;
        let event = match written {
            Ok(Write::Done(())) => Event::Journalled,
            Ok(Write::Stale) => Event::Moved,
            Err(error) => {
                tracing::error!(grant.id = %grant, error = %error, "the refresh cannot be journalled: nothing is sent");
                Event::NotJournalled
            }
        };
        if event != Event::Journalled {
            best_effort("remove an unused spill slot", self.inner.store.spill_remove(attempt).await);
            return event;
        }
        self.attempt = Some(attempt);
        self.journalled.insert(attempt);
        match self.pass("intent.journalled").await {
            Ok(()) => event,
            Err(_) => Event::NotJournalled,
        }
    }

    async fn send(&mut self, rule: &RefreshRule) -> Event {
        let (Some(connection), Some(attempt), Some(row)) = (self.connection.take(), self.attempt, &self.row) else {
            return Event::NotSent;
        };
        let GrantSecret::OAuth { refresh: Some(token), .. } = &row.secret else { return Event::NotSent };
        let (grant, from) = (row.id, row.revision);
        let sent_at = self.inner.clock.now();
        let token = RefreshToken::new(token.expose().to_owned());
        let Some(request) = refresh_request(rule, &token) else {
            tracing::error!(grant.id = %grant, "the refresh token cannot be sent in a header: log in again");
            return Event::NotSent;
        };
        drop(token);
        let answer = connection.send(request, rule.timeout, &*self.inner.clock).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                tracing::warn!(grant.id = %grant, error = %failure, "no answer to a refresh");
                return match failure.first_byte {
                    FirstByte::NotSent => Event::NotSent,
                    FirstByte::Sent => Event::Answered(AnswerKind::Ambiguous),
                };
            }
        };
        if self.pass("answer.received").await.is_err() {
            return Event::Answered(AnswerKind::Ambiguous);
        }
        let record = SpillRecord {
            status: answer.status.as_u16(),
            date: answer.date().map(str::to_owned),
            retry_after: answer.retry_after().map(str::to_owned),
            content_type: answer.content_type().map(str::to_owned),
            sent_at,
            body: answer.body,
        };
        let parts = copy_of(&record);
        // A slot that fails now is not the end: the answer is in memory and goes on to the database. One that is gone, as after a
        // stop of this process for longer than unused slots are kept, is made again.
        let spilled = self.inner.store.spill_write(grant, from, attempt, record).await;
        if best_effort("spill an answer", spilled).is_none()
            && best_effort("make a slot again", self.inner.store.spill_create(grant, from, attempt).await).is_some()
        {
            best_effort("spill an answer", self.inner.store.spill_write(grant, from, attempt, copy_of(&parts)).await);
        }
        if self.pass("answer.spilled").await.is_err() {
            return Event::Answered(AnswerKind::Ambiguous);
        }
        self.read(rule, &parts).await
    }

    async fn read_spill(&mut self, rule: &RefreshRule, attempt: AttemptId) -> Event {
        match self.answer_in(self.grant.id, self.from(), attempt).await {
            Ok(Some(record)) => {
                tracing::info!(grant.id = %self.grant.id, "an answer that was spilled before is recovered");
                self.attempt = Some(attempt);
                self.read(rule, &record).await
            }
            Ok(None) => Event::Answered(AnswerKind::Ambiguous),
            Err(error) => {
                tracing::error!(grant.id = %self.grant.id, error = %error, "a spilled answer cannot be read now");
                Event::Unreadable
            }
        }
    }

    /// Decides what an answer is, where it is seen.
    async fn read(&mut self, rule: &RefreshRule, record: &SpillRecord) -> Event {
        let parts = RawParts {
            status: record.status,
            date: record.date.as_deref(),
            retry_after: record.retry_after.as_deref(),
            content_type: record.content_type.as_deref(),
            body: &record.body,
        };
        let outcome = read_answer(rule, &parts, self.inner.clock.now());
        if self.pass("answer.read").await.is_err() {
            return Event::Answered(AnswerKind::Ambiguous);
        }
        Event::Answered(match outcome {
            claviger_oauth::Outcome::Token(token) => {
                self.token = Some((token, record.sent_at));
                AnswerKind::Token
            }
            claviger_oauth::Outcome::Dead { code } => {
                self.death = self.attempt;
                AnswerKind::Dead { code }
            }
            claviger_oauth::Outcome::Transient { retry_at, .. } => AnswerKind::Transient { retry_at },
            claviger_oauth::Outcome::Ambiguous { why } => {
                tracing::warn!(grant.id = %self.grant.id, status = record.status, why = %why, "an answer to a refresh is not a token");
                AnswerKind::Ambiguous
            }
        })
    }

    async fn withdraw(&mut self) -> Event {
        if let Some(attempt) = self.attempt.take() {
            let withdrawn = self.inner.store.intent_withdraw(self.grant.id, self.from(), attempt).await;
            // A withdrawal that fails leaves an intent that counts one attempt too many: safe, and seen in the log.
            if best_effort("withdraw an attempt", withdrawn).is_some() {
                best_effort("remove a spill slot", self.inner.store.spill_remove(attempt).await);
            }
        }
        Event::Withdrawn
    }

    async fn store(&mut self) -> Event {
        let (Some((token, sent_at)), Some(row)) = (self.token.take(), &mut self.row) else { return Event::NotStored };
        let expires_at = token.expires_at(sent_at);
        let TokenAnswer { access, refresh, .. } = token;
        // A missing refresh token keeps the old one.
        let refresh = match (refresh, &row.secret) {
            (Some(new), _) => Some(new.into_text()),
            (None, GrantSecret::OAuth { refresh: Some(old), .. }) => {
                Some(claviger_domain::secret::SecretText::new(old.expose().to_owned()))
            }
            (None, _) => None,
        };
        let secret = GrantSecret::OAuth { access: access.into_text(), refresh };
        let commit = GrantCommit { grant: row.id, from: row.revision, secret, expires_at, issued_at: sent_at, attempt: self.attempt };
        match self.inner.store.grant_commit(commit).await {
            Ok(Write::Done(_)) => Event::Stored,
            Ok(Write::Stale) => Event::Overtaken,
            Err(error) => {
                tracing::error!(grant.id = %self.grant.id, error = %error, "a new token could not be stored; its answer is in the spill");
                Event::NotStored
            }
        }
    }

    async fn bury(&mut self, cause: String) -> Event {
        let buried = self.inner.store.grant_bury(self.grant.id, self.from(), cause, self.inner.clock.now()).await;
        match buried {
            Ok(Write::Done(())) => Event::Buried { moved: false },
            Ok(Write::Stale) => Event::Buried { moved: true },
            Err(error) => {
                tracing::error!(grant.id = %self.grant.id, error = %error, "a dead grant could not be marked");
                Event::NotStored
            }
        }
    }

    /// Publishes what is on disk, then removes the slots of answers that are applied.
    async fn finish(&mut self, outcome: Outcome) -> Outcome {
        let stored = outcome == Outcome::Refreshed;
        if stored && self.pass("grant.stored").await.is_err() {
            return Outcome::Failed { why: Failure::Storage, retry_at: None };
        }
        let loaded = self.inner.store.grant_load(self.grant.id).await;
        if stored {
            best_effort("pass a failpoint", self.pass("grant.reloaded").await);
        }
        let outcome = match loaded {
            Ok(Some(row)) => {
                let cause = match &row.state {
                    GrantState::NeedsLogin { cause, .. } => Some(cause.clone()),
                    GrantState::Live => None,
                };
                self.inner.publish(self.grant, &row);
                match (outcome, cause) {
                    (Outcome::Dead { .. }, Some(cause)) => Outcome::Dead { cause },
                    (outcome, _) => outcome,
                }
            }
            Ok(None) => outcome,
            Err(error) => return storage_failure(self.grant.id, &error),
        };
        if stored && self.pass("grant.published").await.is_ok() {
            self.remove_slots(&self.journalled).await;
            best_effort("pass a failpoint", self.pass("spill.removed").await);
        }
        if matches!(outcome, Outcome::Dead { .. }) {
            self.remove_slots(&self.death).await;
        }
        outcome
    }

    async fn remove_slots(&self, attempts: impl IntoIterator<Item = &AttemptId>) {
        for attempt in attempts {
            best_effort("remove a spill slot", self.inner.store.spill_remove(*attempt).await);
        }
    }

    fn adopt(&self, row: &GrantRow) -> Outcome {
        self.inner.publish(self.grant, row);
        Outcome::Adopted
    }
}

/// The same answer a second time: one for the slot, one to be read.
fn copy_of(record: &SpillRecord) -> SpillRecord {
    let SpillRecord { status, date, retry_after, content_type, sent_at, body } = record;
    SpillRecord {
        status: *status,
        date: date.clone(),
        retry_after: retry_after.clone(),
        content_type: content_type.clone(),
        sent_at: *sent_at,
        body: body.clone(),
    }
}
