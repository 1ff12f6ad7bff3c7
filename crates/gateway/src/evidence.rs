//! The beginning of an error's body, read so that it can be classed, and kept so that it can be passed on.

use crate::limits::EVIDENCE_TIMEOUT;
use crate::patience::within;
use bytes::{Bytes, BytesMut};
use claviger_domain::classify::EVIDENCE_BODY_MAX_BYTES;
use claviger_egress::InBody;
use claviger_runtime::Clock;
use http_body::Body;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

/// What follows the part of a body that was read.
pub(crate) enum Rest {
    /// Nothing.
    Ended,
    /// More, not read yet.
    More(InBody),
    /// The connection broke there; the client must see a break too.
    Broken(hyper::Error),
}

/// Reads until there is enough, the body ends, or the time is over. Cancel safe only as a whole: dropped, the answer is gone.
pub(crate) async fn read(clock: &Arc<dyn Clock>, mut body: InBody) -> (Bytes, Rest) {
    let mut prefix = BytesMut::new();
    let mut broken = None;
    let reading = async {
        while prefix.len() < EVIDENCE_BODY_MAX_BYTES {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| prefix.extend_from_slice(data)),
                Some(Err(error)) => {
                    broken = Some(error);
                    return true;
                }
                None => return true,
            }
        }
        false
    };
    let has_ended = within(clock, EVIDENCE_TIMEOUT, reading).await.unwrap_or(false);
    let rest = match broken {
        Some(error) => Rest::Broken(error),
        None if has_ended || body.is_end_stream() => Rest::Ended,
        None => Rest::More(body),
    };
    (prefix.freeze(), rest)
}
