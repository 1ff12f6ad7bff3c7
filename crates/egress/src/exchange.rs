//! One token request on a connection of its own: the answer raw and whole, or a failure that says whether a byte left.

use crate::error::{EgressError, FirstByte};
use crate::limits::{ANSWER_MAX_BYTES, HEADERS_MAX, HEADERS_MAX_BYTES, LATE_READ_ROUNDS, LATE_READ_WITHIN};
use crate::stream::{Arrived, Stream};
use bytes::Bytes;
use claviger_runtime::Clock;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, DATE, HOST, HeaderName, RETRY_AFTER};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use zeroize::Zeroizing;

/// A connection that carries one request and then ends. It is not pooled and has no task: it lives in
/// [`FreshConnection::send`] alone, and dropping that closes it.
#[derive(Debug)]
pub struct FreshConnection {
    stream: Stream,
    host: HeaderValue,
}

/// A token endpoint's answer as it came, not decoded and not parsed.
pub struct RawAnswer {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, at most [`ANSWER_MAX_BYTES`]; it holds secrets and is overwritten when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl RawAnswer {
    /// The `Date` of the answer.
    pub fn date(&self) -> Option<&str> {
        self.text(&DATE)
    }

    /// The `Retry-After` of the answer.
    pub fn retry_after(&self) -> Option<&str> {
        self.text(&RETRY_AFTER)
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(&self) -> Option<&str> {
        self.text(&CONTENT_TYPE)
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAnswer").field("status", &self.status).field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// An exchange without a whole answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SendFailure {
    /// Whether the endpoint may have seen the request.
    pub first_byte: FirstByte,
    /// What happened.
    #[source]
    pub why: ExchangeError,
}

/// Why an exchange has no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The deadline passed.
    #[error("no whole answer before the deadline")]
    Deadline,
    /// The answer is longer than [`ANSWER_MAX_BYTES`].
    #[error("the answer is longer than {ANSWER_MAX_BYTES} bytes")]
    TooLarge,
    /// The endpoint closed the connection before the request.
    #[error("the endpoint closed the connection before the request")]
    Closed,
    /// The connection failed, ended early, or spoke no HTTP.
    #[error("the connection failed before the whole answer was read")]
    Connection(#[source] hyper::Error),
    /// The request has no form that could be sent. The caller's fault.
    #[error("a request with this method or target cannot be sent")]
    Unsendable,
}

impl FreshConnection {
    pub(crate) fn new(stream: Stream, authority: &Authority) -> Result<Self, EgressError> {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_invalid| EgressError::Unsendable)?;
        Ok(Self { stream, host })
    }

    /// Sends the one request and reads the whole answer, all within `deadline` on the clock.
    ///
    /// The request's path and query are kept, its scheme and host are the connection's. `Sent` is noted before the first
    /// byte is handed to the socket or to TLS, so `NotSent` is a proof. Cancel safe in that nothing outlives the future;
    /// but a caller that drops it does not learn whether a byte left.
    pub async fn send(self, request: Request<Bytes>, deadline: Duration, clock: &dyn Clock) -> Result<RawAnswer, SendFailure> {
        let sent = Arc::new(AtomicBool::new(false));
        let stream = Witness { stream: self.stream, sent: Arc::clone(&sent) };
        exchange(stream, self.host, request, deadline, clock).await.map_err(|why| {
            let first_byte = if sent.load(Ordering::Acquire) { FirstByte::Sent } else { FirstByte::NotSent };
            SendFailure { first_byte, why }
        })
    }
}

/// Drives the connection and the exchange together, so that neither outlives this future.
async fn exchange(
    stream: Witness,
    host: HeaderValue,
    request: Request<Bytes>,
    deadline: Duration,
    clock: &dyn Clock,
) -> Result<RawAnswer, ExchangeError> {
    let mut deadline = clock.sleep(deadline);
    let request = addressed(host, request)?;
    let arrived = stream.stream.arrived();
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADERS_MAX_BYTES as usize)
        .handshake(stream)
        .await
        .map_err(ExchangeError::Connection)?;
    let mut connection = pin!(connection);
    // Seconds may lie between the dial and now: a close meanwhile is told by the reactor, which a yield lets run, and
    // seen by the connection's first read. Without this the request would be written into a dead connection.
    tokio::task::yield_now().await;
    tokio::select! {
        biased;
        ended = &mut connection => return Err(ended.map_or_else(ExchangeError::Connection, |()| ExchangeError::Closed)),
        ready = sender.ready() => ready.map_err(ExchangeError::Connection)?,
    }
    let mut answer = pin!(async {
        let response = sender.send_request(request).await.map_err(ExchangeError::Connection)?;
        collect(response).await
    });
    let mut connection_runs = true;
    loop {
        tokio::select! {
            biased;
            done = &mut answer => return done,
            // How it ended reaches the exchange through its own channel.
            ended = &mut connection, if connection_runs => { drop(ended); connection_runs = false; }
            () = &mut deadline => break,
        }
    }
    // A process that stood still past the deadline has the answer in its socket: what has arrived is read, and nothing more is
    // waited for than that the runtime tells of it, which on a busy machine may take a while.
    let mut patience = clock.sleep(LATE_READ_WITHIN);
    for _turn in 0..LATE_READ_ROUNDS {
        tokio::select! {
            biased;
            done = &mut answer => return done,
            ended = &mut connection, if connection_runs => { drop(ended); connection_runs = false; }
            () = turn(&arrived) => {}
            () = &mut patience => break,
        }
    }
    Err(ExchangeError::Deadline)
}

/// The next turn of somebody who reads: when the runtime has told of the bytes that wait in the socket; at once where there are
/// none, so that what was read is handed on.
async fn turn(arrived: &Arrived) {
    if !arrived.is_unread() {
        return tokio::task::yield_now().await;
    }
    let mut is_told = false;
    std::future::poll_fn(|_context| if std::mem::replace(&mut is_told, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

fn addressed(host: HeaderValue, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if parts.method == Method::CONNECT || !path.as_str().starts_with('/') {
        return Err(ExchangeError::Unsendable);
    }
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    parts.headers.insert(HOST, host);
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(Request::from_parts(parts, Full::new(body)))
}

async fn collect(response: http::Response<hyper::body::Incoming>) -> Result<RawAnswer, ExchangeError> {
    let (parts, mut incoming) = response.into_parts();
    // The whole capacity at once: growing would leave copies behind that nobody overwrites.
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_MAX_BYTES));
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(ExchangeError::Connection)?.into_data() else {
            continue;
        };
        if data.len() > ANSWER_MAX_BYTES - body.len() {
            return Err(ExchangeError::TooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(RawAnswer { status: parts.status, headers: parts.headers, body })
}

/// Notes that a byte is about to be handed on, whatever becomes of it.
#[derive(Debug)]
struct Witness {
    stream: Stream,
    sent: Arc<AtomicBool>,
}

impl Read for Witness {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Witness {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.store(true, Ordering::Release);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.sent.store(true, Ordering::Release);
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
