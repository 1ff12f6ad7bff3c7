//! The answer on its way to the client: nothing is held back, a break is passed on as a break, and the end is recorded.

use crate::error::name_request;
use crate::evidence::Rest;
use crate::forward::{Answered, answer_headers};
use crate::limits::ANSWER_IDLE_TIMEOUT;
use crate::patience::Idle;
use crate::record::{End, Settlement};
use bytes::Bytes;
use claviger_contract::Broker;
use claviger_runtime::Clock;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Why an answer breaks off. The connection to the client is closed without a proper end, so that nobody takes a part for the whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("the provider broke off its answer")]
    Broken(#[source] hyper::Error),
    #[error("the provider's answer stood still for too long")]
    Stalled,
}

/// The body of an answer, ours or a provider's. Dropping it closes the upstream's stream.
pub(crate) struct AnswerBody<B: Broker> {
    prefix: Bytes,
    rest: Rest,
    idle: Option<Idle>,
    /// Absent for answers that nobody counts, such as health checks.
    settlement: Option<Settlement<B>>,
}

/// Nothing in it is pinned: a body that is polled is one that may be moved.
impl<B: Broker> Unpin for AnswerBody<B> {}

/// The provider's answer as the client gets it.
pub(crate) fn relay<B: Broker>(answered: Answered, mut settlement: Settlement<B>, clock: &Arc<dyn Clock>) -> Response<AnswerBody<B>> {
    let Answered { mut parts, prefix, rest, account: _, class: _ } = answered;
    parts.headers = answer_headers(&parts.headers);
    name_request(&mut parts.headers, settlement.request);
    parts.extensions.clear();
    parts.version = http::Version::HTTP_11;
    settlement.status = Some(parts.status);
    let idle = Some(Idle::new(clock, ANSWER_IDLE_TIMEOUT));
    Response::from_parts(parts, AnswerBody { prefix, rest, idle, settlement: Some(settlement) })
}

/// An answer of our own.
pub(crate) fn own<B: Broker>(response: Response<Bytes>, settlement: Option<Settlement<B>>) -> Response<AnswerBody<B>> {
    let status = response.status();
    let settlement = settlement.map(|mut settlement| {
        settlement.status = Some(status);
        settlement
    });
    response.map(|prefix| AnswerBody { prefix, rest: Rest::Ended, idle: None, settlement })
}

impl<B: Broker> AnswerBody<B> {
    fn end(&mut self, end: End) {
        if let Some(mut settlement) = self.settlement.take() {
            settlement.end = end;
        }
    }
}

impl<B: Broker> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if !this.prefix.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.prefix)))));
        }
        let body = match &mut this.rest {
            Rest::More(body) => body,
            Rest::Ended => {
                this.end(End::Complete);
                return Poll::Ready(None);
            }
            Rest::Broken(_) => {
                this.end(End::Cut);
                return Poll::Ready(match std::mem::replace(&mut this.rest, Rest::Ended) {
                    Rest::Broken(error) => Some(Err(Cut::Broken(error))),
                    Rest::Ended | Rest::More(_) => None,
                });
            }
        };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(idle) = &mut this.idle {
                    idle.moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(End::Cut);
                Poll::Ready(Some(Err(Cut::Broken(error))))
            }
            Poll::Ready(None) => {
                this.end(End::Complete);
                Poll::Ready(None)
            }
            Poll::Pending => match this.idle.as_mut().map(|idle| idle.poll_expired(context)) {
                Some(Poll::Ready(())) => {
                    this.end(End::Cut);
                    Poll::Ready(Some(Err(Cut::Stalled)))
                }
                Some(Poll::Pending) | None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty()
            && match &self.rest {
                Rest::Ended => true,
                Rest::More(body) => body.is_end_stream(),
                Rest::Broken(_) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Rest::Ended => SizeHint::with_exact(0),
            Rest::More(body) => body.size_hint(),
            Rest::Broken(_) => SizeHint::default(),
        };
        let prefix = self.prefix.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(prefix + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(prefix + upper);
        }
        hint
    }
}

impl<B: Broker> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        // A body of known length is dropped with its last byte, and never asked for an end.
        if self.is_end_stream() {
            self.end(End::Complete);
        }
    }
}
