//! One question to the broker, and the credential written into one request.

use crate::forward::Outgoing;
use claviger_contract::{Answer, Ask, Attempt, Broker, Content, NotApplied, Refusal};
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
    /// The credential does not serve this request, and no other was asked for.
    Unsigned(NotApplied),
}

/// Asks, and applies at once: a lease is never held over an await. A credential that signs reads the whole of `content` for that:
/// some 20 ms for the largest body that is kept.
pub(crate) fn lease<B: Broker>(broker: &B, ask: &Ask<'_>, outgoing: &Outgoing<'_>, content: Content<'_>) -> Leased<B::Pending> {
    match broker.lease(ask) {
        Answer::Ready(lease) => {
            let mut parts = outgoing.parts();
            match lease.apply_to(&mut parts, content) {
                Ok(attempt) => Leased::Ready(attempt, parts),
                Err(NotApplied::Superseded) => Leased::Superseded,
                Err(why @ (NotApplied::BodyUnread | NotApplied::Unsignable(_))) => Leased::Unsigned(why),
            }
        }
        Answer::Pending(pending) => Leased::Pending(pending),
        Answer::Refused(refusal) => Leased::Refused(refusal),
    }
}
