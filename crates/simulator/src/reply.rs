//! Answers as scripts: data, pauses and cuts, played by a body that also writes the end of the exchange into the ledger.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Sleep;

use crate::ledger::ExchangeEnd;
use crate::state::Entry;

/// The most bytes of a request body that are read: twice the 32 MiB that a gateway here keeps for replay.
const REQUEST_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The size of the pieces of [`Step::Fill`].
const FILL_CHUNK_BYTES: u64 = 64 * 1024;

/// One thing that a body does.
#[derive(Debug)]
pub(crate) enum Step {
    /// Sends these bytes.
    Data(Bytes),
    /// Sends this many times the letter `a`, without holding them in memory.
    Fill(u64),
    /// Lets the connection flush what it has.
    Flush,
    /// Waits.
    Pause(Duration),
    /// Never goes on; the connection stays open.
    Stall,
    /// Closes the connection inside the body.
    Cut,
}

/// An answer: status, headers, and the body either whole or as events.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// What the body does. Where the length is known the last step sends data: the connection asks for nothing after it.
    pub(crate) steps: VecDeque<Step>,
    /// The `Content-Length` that is claimed; absent for a chunked body.
    pub(crate) length: Option<u64>,
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::whole(status, "application/json", body.to_string())
    }

    /// An answer with a body of known length.
    pub(crate) fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = Some(body.len() as u64);
        let steps = if body.is_empty() { VecDeque::new() } else { VecDeque::from([Step::Data(body)]) };
        Self { status, headers: Vec::new(), steps, length }.header("content-type", content_type)
    }

    /// A chunked answer whose events are flushed one by one. The last step is the last event, so that a client which
    /// leaves after it has had the whole answer.
    pub(crate) fn events(content_type: &str, events: impl IntoIterator<Item = Bytes>) -> Self {
        let mut steps = VecDeque::new();
        for event in events {
            if !steps.is_empty() {
                steps.push_back(Step::Flush);
            }
            steps.push_back(Step::Data(event));
        }
        Self { status: 200, headers: Vec::new(), steps, length: None }.header("content-type", content_type)
    }

    pub(crate) fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Whether the body is a series of events.
    pub(crate) fn is_stream(&self) -> bool {
        self.length.is_none()
    }

    /// Turns it into the HTTP answer, whose `Date` is `date_ms`.
    pub(crate) fn into_response(self, date_ms: i64, mut entry: Entry) -> Response<ScriptedBody> {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, value(&http_date(date_ms)));
        if let Some(length) = self.length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        for (name, text) in &self.headers {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.append(name, value(text));
            }
        }
        entry.status(self.status);
        if self.steps.is_empty() {
            entry.close(ExchangeEnd::Completed);
        }
        let body = ScriptedBody { steps: self.steps, pause: None, entry };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
    }
}

/// A header value; what HTTP forbids in one is left out.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// A time as `Date` carries it (RFC 9110 §5.6.7).
fn http_date(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A time as RFC 3339 writes it, in whole seconds.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    Timestamp::from_second(at_ms.div_euclid(1000)).unwrap_or_default().to_string()
}

/// Reads a request body. `None`: it is too large, or the client went away.
pub(crate) async fn read_body(body: Incoming) -> Option<Bytes> {
    let limited = http_body_util::Limited::new(body, REQUEST_BODY_BYTES_MAX);
    limited.collect().await.ok().map(http_body_util::Collected::to_bytes)
}

/// The reason for which a connection is closed without an answer, or inside one.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulator cuts the connection, as a fault demands")
    }
}

impl std::error::Error for Cut {}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Plays the steps of a [`Reply`]. Dropped before the last one, the client has gone away.
pub(crate) struct ScriptedBody {
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    entry: Entry,
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(pause) = self.pause.as_mut() {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Some(step) = self.steps.pop_front() else {
                self.entry.close(ExchangeEnd::Completed);
                return Poll::Ready(None);
            };
            let data = match step {
                Step::Data(data) => data,
                Step::Fill(left) => {
                    let now = left.min(FILL_CHUNK_BYTES);
                    if left > now {
                        self.steps.push_front(Step::Fill(left - now));
                    }
                    Bytes::from(vec![b'a'; usize::try_from(now).unwrap_or_default()])
                }
                Step::Flush => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Pause(time) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
                Step::Stall => {
                    self.steps.push_front(Step::Stall);
                    return Poll::Pending;
                }
                Step::Cut => {
                    self.entry.close(ExchangeEnd::Cut);
                    return Poll::Ready(Some(Err(Cut)));
                }
            };
            if self.steps.is_empty() {
                self.entry.close(ExchangeEnd::Completed);
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
