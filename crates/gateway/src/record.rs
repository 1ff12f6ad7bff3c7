//! The end of a request, however it ends: the settlement of its admission and its line in the log.

use crate::gateway::Counters;
use claviger_contract::{Admission, Broker, Record};
use claviger_domain::id::{AccountId, ProviderId, RequestId};
use claviger_runtime::Clock;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What becomes a record when it is dropped: with the last byte of the answer, or when the client goes away.
pub(crate) struct Settlement<B: Broker> {
    pub(crate) request: RequestId,
    pub(crate) provider: Option<ProviderId>,
    pub(crate) account: Option<AccountId>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) attempts: usize,
    pub(crate) end: End,
    /// The code of our own answer, where a provider's was not passed on.
    pub(crate) refused: Option<&'static str>,
    pub(crate) admission: Option<Admission>,
    broker: B,
    clock: Arc<dyn Clock>,
    started_at: Duration,
    counters: Arc<Counters>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client went away, or has not got all of it yet.
    Open,
    /// All of it was passed on.
    Complete,
    /// The provider broke off, and the client saw that.
    Cut,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "client_gone",
            Self::Complete => "complete",
            Self::Cut => "cut",
        }
    }
}

impl<B: Broker> Settlement<B> {
    /// Begins with a request's head.
    pub(crate) fn begin(request: RequestId, broker: B, clock: Arc<dyn Clock>, counters: Arc<Counters>) -> Self {
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        counters.total.fetch_add(1, Ordering::Relaxed);
        let started_at = clock.boot();
        let (provider, account, status, admission) = (None, None, None, None);
        Self {
            request,
            provider,
            account,
            status,
            attempts: 0,
            end: End::Open,
            refused: None,
            admission,
            broker,
            clock,
            started_at,
            counters,
        }
    }
}

impl<B: Broker> Drop for Settlement<B> {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        let took = self.clock.boot().saturating_sub(self.started_at);
        tracing::info!(
            request.id = %self.request,
            key.id = self.admission.as_ref().map(|admission| tracing::field::display(admission.key().accessor)),
            provider.id = self.provider.as_ref().map(ProviderId::as_str),
            account.id = self.account.map(|account| account.0),
            status = self.status.map(|status| status.as_u16()),
            attempts = self.attempts,
            end = self.end.as_str(),
            refused = self.refused,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "request ended"
        );
        let (Some(admission), Some(provider), Some(status)) = (self.admission.take(), self.provider.take(), self.status) else {
            // Dropped without a record: the client left before anything was known, or was never admitted.
            return;
        };
        let record =
            Record { request: self.request, provider, account: self.account, status: status.as_u16(), attempts: self.attempts, took };
        self.broker.settle(admission, record);
    }
}
