//! The `Broker` seam: what a data plane may know of credentials.
//!
//! Nothing here contains a refresh token, so whoever sees only this crate cannot hold one.

mod admission;
mod ask;
mod lease;
mod refusal;
mod routes;
mod signing;

pub use admission::{Admission, AdmissionSink, KeyGrant, Record};
pub use ask::{Answer, Ask};
pub use lease::{Attempt, AttemptFacts, AttemptSink, Authorization, HeaderEdit, Lease, LiveCell, LiveGrant, NotApplied, Report};
pub use refusal::{Denial, Refusal};
pub use routes::{Pattern, Routes};
pub use signing::{Content, Signer, Unsignable};

use claviger_domain::classify::Class;
use claviger_domain::virtual_key::Presented;
use std::net::IpAddr;
use std::sync::Arc;

/// The data plane: admit a client, lease a credential, report what came of it, settle.
///
/// [`Broker::admit`] and [`Broker::lease`] do no I/O, and take no lock while no token is due. Reports and settlements never wait.
pub trait Broker: Clone + Send + Sync + 'static {
    /// Resolves when another [`Broker::lease`] may succeed, or with the reason why none will. It waits for work that
    /// belongs to the broker: dropping it abandons the wait, never the work.
    type Pending: Future<Output = Result<(), Refusal>> + Send + 'static;

    /// Admits the holder of a virtual key. A key that is unknown, ended or revoked is [`Refusal::Denied`].
    fn admit(&self, key: &Presented<'_>, peer: Option<IpAddr>) -> Result<Admission, Refusal>;

    /// Leases a credential for one attempt. The lease lives no longer than the question.
    fn lease<'ask>(&self, ask: &'ask Ask<'_>) -> Answer<'ask, Self::Pending>;

    /// Where requests go; a snapshot that a reload replaces as a whole.
    fn routes(&self) -> Arc<Routes>;

    /// Why nobody at all is served for now: the vault is still sealed. Asked first for every request; never waits.
    fn closed(&self) -> Option<Refusal> {
        None
    }

    /// Whether all is well with what is served. For health checks: it may look through all accounts.
    fn readiness(&self) -> Readiness {
        Readiness::Whole
    }

    /// Says what came of an attempt. Never waits.
    fn report(&self, attempt: Attempt, class: Class) {
        attempt.finish(Report::Seen(class));
    }

    /// Ends an admission with what the request used. Never waits.
    fn settle(&self, admission: Admission, record: Record) {
        admission.settle(record);
    }
}

/// Whether all is well with what a broker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Whole,
    /// Requests are served, and some account is in quarantine: a person should look before its token ends.
    Degraded,
}
