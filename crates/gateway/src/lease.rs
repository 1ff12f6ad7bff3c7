//! One question to the broker, and the credential written into one request.

use crate::forward::Outgoing;
use claviger_contract::{Answer, Ask, Attempt, Broker, Refusal, Superseded};
use http::request;

/// The broker's answer, applied.
#[expect(clippy::large_enum_variant, reason = "moved once and taken apart; a box would cost every request an allocation")]
pub(crate) enum Leased<P> {
    /// The request bears a credential and may be sent once.
    Ready(Attempt, request::Parts),
    /// The credential was rotated between question and answer: ask again.
    Superseded,
    /// A token is being refreshed.
    Pending(P),
    /// None.
    Refused(Refusal),
}

/// Asks, and applies at once: a lease is never held over an await.
pub(crate) fn lease<B: Broker>(broker: &B, ask: &Ask<'_>, outgoing: &Outgoing<'_>) -> Leased<B::Pending> {
    match broker.lease(ask) {
        Answer::Ready(lease) => {
            let mut parts = outgoing.parts();
            match lease.apply(&mut parts) {
                Ok(attempt) => Leased::Ready(attempt, parts),
                Err(Superseded) => Leased::Superseded,
            }
        }
        Answer::Pending(pending) => Leased::Pending(pending),
        Answer::Refused(refusal) => Leased::Refused(refusal),
    }
}
