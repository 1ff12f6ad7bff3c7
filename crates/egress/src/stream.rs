//! One connection to an upstream, clear or TLS, and the socket options that both have.

use crate::limits::{TCP_KEEPALIVE_IDLE, TCP_KEEPALIVE_INTERVAL, TCP_KEEPALIVE_PROBES};
use claviger_runtime::best_effort;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustix::net::{RecvFlags, recv, sockopt};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
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

impl Stream {
    /// Another hold on the socket, that tells what has arrived there. Where the system gives none, nothing has.
    pub(crate) fn arrived(&self) -> Arrived {
        let socket = match self {
            Self::Clear(io) => io.inner(),
            Self::Tls(io) => io.inner().get_ref().0,
        };
        Arrived(best_effort("look at a socket beside its reader", socket.as_fd().try_clone_to_owned()))
    }
}

/// Tells what the system has received for a connection, whether or not the runtime has told of it yet.
#[derive(Debug)]
pub(crate) struct Arrived(Option<OwnedFd>);

impl Arrived {
    /// Whether bytes, or the end, wait in the socket.
    pub(crate) fn is_unread(&self) -> bool {
        let look = |socket| recv(socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok();
        self.0.as_ref().is_some_and(look)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_waits_in_a_socket_is_seen_before_it_is_read_and_so_is_the_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let mut stream = Stream::Clear(TokioIo::new(ours));
        let arrived = stream.arrived();
        assert!(!arrived.is_unread());

        theirs.write_all(b"x").await.unwrap();
        let Stream::Clear(io) = &mut stream else { unreachable!() };
        io.inner().readable().await.unwrap();
        assert!(arrived.is_unread());
        assert_eq!(io.inner_mut().read_u8().await.unwrap(), b'x');
        assert!(!arrived.is_unread());

        drop(theirs);
        assert_eq!(io.inner_mut().read(&mut [0; 1]).await.unwrap(), 0);
        assert!(arrived.is_unread(), "the end stays");
    }
}
