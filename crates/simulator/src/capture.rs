//! Keeps the head of a request as it was on the wire, because a parsed header map has lost order and case.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most bytes of a head that are kept. The HTTP parser refuses longer ones anyway.
const HEAD_BYTES_MAX: usize = 512 * 1024;

/// The head of the request that a connection is reading. Requests are not pipelined by any client of this server, so
/// that between two answers the connection's bytes belong to one request.
#[derive(Clone, Default)]
pub(crate) struct HeadTap {
    /// Guards a buffer; never held across an `.await`.
    bytes: Arc<Mutex<Head>>,
}

#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    is_complete: bool,
}

impl HeadTap {
    /// The headers of the current request in order, or `None` where the head was not seen whole.
    pub(crate) fn headers(&self) -> Option<Vec<(String, String)>> {
        let head = self.lock();
        if !head.is_complete {
            return None;
        }
        let text = String::from_utf8_lossy(&head.bytes);
        let lines = text.split("\r\n").skip(1).take_while(|line| !line.is_empty());
        let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        lines.map(split).collect()
    }

    /// Begins the next head. To be called when the current request was read to its end.
    pub(crate) fn rearm(&self) {
        *self.lock() = Head::default();
    }

    fn record(&self, read: &[u8]) {
        let mut head = self.lock();
        if head.is_complete || head.bytes.len() > HEAD_BYTES_MAX {
            return;
        }
        let searched = head.bytes.len().saturating_sub(3);
        head.bytes.extend_from_slice(read);
        let tail = head.bytes.get(searched..).unwrap_or_default();
        if let Some(end) = tail.windows(4).position(|window| window == b"\r\n\r\n") {
            head.bytes.truncate(searched + end + 4);
            head.is_complete = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose request heads are kept in a [`HeadTap`].
pub(crate) struct TappedStream {
    stream: TcpStream,
    tap: HeadTap,
}

impl TappedStream {
    pub(crate) fn new(stream: TcpStream, tap: HeadTap) -> Self {
        Self { stream, tap }
    }
}

impl AsyncRead for TappedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.tap.record(buf.filled().get(before..).unwrap_or_default());
        outcome
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
