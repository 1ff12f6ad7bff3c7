//! Request bodies: kept for a replay while that is affordable, else passed on as they arrive.

use crate::error::Fault;
use crate::limits::{BODY_IDLE_TIMEOUT, DISCARD_MAX_BYTES, DISCARD_TIMEOUT, Limits, PEEK_MAX_BYTES};
use crate::patience::{Idle, within};
use bytes::{Bytes, BytesMut};
use claviger_contract::Content;
use claviger_domain::time::Timestamp;
use claviger_egress::{BoxError, OutBody};
use claviger_runtime::Clock;
use http::{HeaderMap, header::EXPECT};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// The largest step in which room for a body of announced length is made: a length is a claim, not a body.
const ROOM_MAX_BYTES: usize = 1024 * 1024;

/// Bytes kept for replays by all requests together.
#[derive(Debug)]
pub(crate) struct Budget {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

impl Budget {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicUsize::new(0), max_bytes })
    }

    /// Bytes kept now.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// A part of the budget; given back when it is dropped.
#[derive(Debug)]
struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Takes more; `false`, and nothing taken, where the budget has no more.
    fn grow(&mut self, by_bytes: usize) -> bool {
        let take = |used: usize| used.checked_add(by_bytes).filter(|sum| *sum <= self.budget.max_bytes);
        let taken = self.budget.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if taken {
            self.bytes += by_bytes;
        }
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request's body as it comes in.
pub(crate) struct Inbound {
    body: Option<Incoming>,
    /// The client waits for `100 Continue`, which reading the body sends.
    expects_continue: bool,
}

impl Inbound {
    pub(crate) fn new(body: Incoming, headers: &HeaderMap) -> Self {
        Self { body: Some(body), expects_continue: headers.contains_key(EXPECT) }
    }

    /// Reads and forgets a small rest, so that a refusal reaches a client which writes all before it reads.
    pub(crate) async fn discard(self, clock: &Arc<dyn Clock>) {
        let Some(mut body) = self.body.filter(|body| !self.expects_continue && !body.is_end_stream()) else {
            return;
        };
        if body.size_hint().lower() > DISCARD_MAX_BYTES {
            return;
        }
        let reading = async {
            let mut left = DISCARD_MAX_BYTES;
            while let Some(Ok(frame)) = next(&mut body).await {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // Late or not: the refusal follows, and the connection is closed where something is left.
        let _in_time: Option<()> = within(clock, DISCARD_TIMEOUT, reading).await;
    }
}

async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// A request's body as it goes out.
#[derive(Debug)]
pub(crate) enum Payload {
    /// None.
    Empty,
    /// All of it; may go out any number of times.
    Whole(Kept),
    /// More than is kept: goes out once.
    Once(Option<Box<Streaming>>),
}

/// Bytes of a body with the part of the budget that they take.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: Bytes,
    _reservation: Reservation,
}

impl Payload {
    /// Whether another attempt can be made with it.
    pub(crate) fn can_be_sent(&self) -> bool {
        !matches!(self, Self::Once(None))
    }

    /// What may be read for model and session: a body that is whole and not too large to look through.
    pub(crate) fn peek(&self) -> Bytes {
        match self {
            Self::Whole(kept) if kept.bytes.len() <= PEEK_MAX_BYTES => kept.bytes.clone(),
            _ => Bytes::new(),
        }
    }

    /// What a credential that signs may sign.
    pub(crate) fn content(&self, now: Timestamp) -> Content<'_> {
        match self {
            Self::Empty => Content::Whole { body: &[], now },
            Self::Whole(kept) => Content::Whole { body: &kept.bytes, now },
            Self::Once(_) => Content::Unread,
        }
    }

    /// Puts a shorter body in the place of one that is whole, within the same part of the budget.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        if let Self::Whole(kept) = self {
            kept.bytes = bytes;
        }
    }

    /// The body for one attempt.
    pub(crate) fn next(&mut self) -> OutBody {
        match self {
            Self::Empty => OutBody::Empty,
            Self::Whole(kept) => OutBody::from(kept.bytes.clone()),
            Self::Once(streaming) => streaming.take().map_or(OutBody::Empty, |streaming| OutBody::Boxed(Box::into_pin(streaming))),
        }
    }
}

/// Reads a body as far as it may be kept. On a failure the rest stays in `inbound`, to be discarded.
pub(crate) async fn collect(
    inbound: &mut Inbound,
    budget: &Arc<Budget>,
    limits: &Limits,
    clock: &Arc<dyn Clock>,
) -> Result<Payload, Fault> {
    let Some(body) = inbound.body.as_mut().filter(|body| !body.is_end_stream()) else {
        return Ok(Payload::Empty);
    };
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > limits.body_max_bytes) {
        return Err(Fault::BodyTooLarge { max_bytes: limits.body_max_bytes });
    }
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    let mut reservation = Reservation { budget: Arc::clone(budget), bytes: 0 };
    let mut pieces = Pieces::default();
    if announced.is_none_or(|bytes| bytes <= limits.replay_request_max_bytes) {
        loop {
            let frame = within(clock, BODY_IDLE_TIMEOUT, next(body)).await.ok_or(Fault::BodyStalled)?;
            let Some(frame) = frame.transpose().map_err(Fault::BodyBroken)? else {
                return Ok(Payload::Whole(Kept { bytes: pieces.freeze(), _reservation: reservation }));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let is_affordable = reservation.grow(data.len());
            pieces.push(data, announced);
            if !is_affordable || pieces.len() > limits.replay_request_max_bytes {
                break;
            }
            if body.is_end_stream() {
                return Ok(Payload::Whole(Kept { bytes: pieces.freeze(), _reservation: reservation }));
            }
        }
    }
    let prefix = pieces.freeze();
    let left_bytes = limits.body_max_bytes.saturating_sub(prefix.len() as u64);
    let Some(rest) = inbound.body.take() else {
        return Ok(Payload::Empty);
    };
    let prefix = (!prefix.is_empty()).then_some(Kept { bytes: prefix, _reservation: reservation });
    Ok(Payload::Once(Some(Box::new(Streaming { prefix, rest, left_bytes, idle: Idle::new(clock, BODY_IDLE_TIMEOUT) }))))
}

/// A body while it is collected: without a copy where it came in one piece.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    all: BytesMut,
}

impl Pieces {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes, announced: Option<usize>) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            let wanted = announced.unwrap_or(0).min(ROOM_MAX_BYTES).max(self.first.len() + data.len());
            self.all.reserve(wanted);
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    fn freeze(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// Why a body that is passed on stops. The provider sees a broken request.
#[derive(Debug, thiserror::Error)]
enum StreamingError {
    #[error("the request body is larger than allowed")]
    TooLarge,
    #[error("the request body stood still for too long")]
    Stalled,
    #[error("the request body ended early")]
    Broken(#[source] hyper::Error),
}

/// A body that is passed on as it arrives, after the part that was read before it proved too large.
pub(crate) struct Streaming {
    prefix: Option<Kept>,
    rest: Incoming,
    left_bytes: u64,
    idle: Idle,
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streaming").field("left_bytes", &self.left_bytes).finish_non_exhaustive()
    }
}

impl Body for Streaming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(prefix) = self.prefix.take() {
            return Poll::Ready(Some(Ok(Frame::data(prefix.bytes))));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(context) else {
                ready!(self.idle.poll_expired(context));
                return Poll::Ready(Some(Err(StreamingError::Stalled.into())));
            };
            self.idle.moved();
            let frame = match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(StreamingError::Broken(error).into()))),
                Some(Ok(frame)) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            return Poll::Ready(Some(match self.left_bytes.checked_sub(data.len() as u64) {
                Some(left_bytes) => {
                    self.left_bytes = left_bytes;
                    Ok(Frame::data(data))
                }
                None => Err(StreamingError::TooLarge.into()),
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let prefix = self.prefix.as_ref().map_or(0, |prefix| prefix.bytes.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(prefix + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(prefix + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_never_exceeds_the_budget_and_is_given_back() {
        let budget = Budget::new(10);
        let mut first = Reservation { budget: Arc::clone(&budget), bytes: 0 };
        let mut second = Reservation { budget: Arc::clone(&budget), bytes: 0 };
        assert!(first.grow(6));
        assert!(!second.grow(5));
        assert!(second.grow(4));
        assert_eq!(budget.used_bytes(), 10);
        drop(first);
        assert_eq!(budget.used_bytes(), 4);
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_body_in_one_piece_is_not_copied_and_pieces_keep_their_order() {
        let piece = Bytes::from_static(b"abc");
        let mut kept = Pieces::default();
        kept.push(piece.clone(), Some(3));
        assert_eq!(kept.freeze().as_ptr(), piece.as_ptr());
        let mut kept = Pieces::default();
        for data in ["ab", "", "cd", "e"] {
            kept.push(Bytes::from_static(data.as_bytes()), None);
        }
        assert_eq!(kept.freeze(), "abcde");
    }
}
