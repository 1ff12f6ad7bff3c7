//! The question to a broker and its answer.

use crate::{Admission, Lease, Refusal};
use claviger_domain::attempt::Attempts;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::session::SessionHash;

/// What a request needs a credential for.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Who asks, and within which limits.
    pub admission: &'a Admission,
    /// The provider.
    pub provider: &'a ProviderId,
    /// The conversation, where the request names one.
    pub session: Option<SessionHash>,
    /// The model, where the request names one.
    pub model: Option<&'a str>,
    /// What stood before the model's name, where accounts are asked for by such a prefix; without its `/`.
    pub model_prefix: Option<&'a str>,
    /// Whether the request comes from the vendor's own client.
    pub own_client: bool,
    /// One account and no other.
    pub account: Option<AccountId>,
    /// What was tried for this request already.
    pub attempts: &'a Attempts,
    /// Chooses among equals where there is no session.
    pub seed: u64,
}

/// A broker's answer.
#[derive(Debug)]
pub enum Answer<'ask, P> {
    /// A credential for one attempt.
    Ready(Lease<'ask>),
    /// A token is being refreshed; ask again when this resolves.
    Pending(P),
    /// None, and why.
    Refused(Refusal),
}
