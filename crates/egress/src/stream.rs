//! One connection to an upstream, clear or TLS, and the socket options that both have.

use crate::limits::{TCP_KEEPALIVE_IDLE, TCP_KEEPALIVE_INTERVAL, TCP_KEEPALIVE_PROBES};
use claviger_runtime::best_effort;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Sets what every outbound socket has: no Nagle delay, and probes that find a dead peer. A failure harms only latency.
pub(crate) fn tune(socket: &TcpStream) {
    best_effort("set TCP_NODELAY", socket.set_nodelay(true));
    best_effort("set SO_KEEPALIVE", sockopt::set_socket_keepalive(socket, true));
    best_effort("set TCP_KEEPIDLE", sockopt::set_tcp_keepidle(socket, TCP_KEEPALIVE_IDLE));
    best_effort("set TCP_KEEPINTVL", sockopt::set_tcp_keepintvl(socket, TCP_KEEPALIVE_INTERVAL));
    best_effort("set TCP_KEEPCNT", sockopt::set_tcp_keepcnt(socket, TCP_KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    {
        let timeout_ms = u32::try_from(crate::limits::TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        best_effort("set TCP_USER_TIMEOUT", sockopt::set_tcp_user_timeout(socket, timeout_ms));
    }
}

/// A connection, ready for HTTP.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Loopback only.
    Clear(TokioIo<TcpStream>),
    /// The handshake is done. Boxed, since its state is large.
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self {
            Self::Tls(tls) if tls.inner().get_ref().1.alpn_protocol() == Some(b"h2") => connected.negotiated_h2(),
            Self::Tls(_) | Self::Clear(_) => connected,
        }
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_read(context, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_write(context, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_write_vectored(context, slices),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_flush(context),
            Self::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_shutdown(context),
            Self::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}
