//! The listener: accepts, bounds and ends connections. A panic or an error in one of them is nobody else's.

use crate::gateway::{Counters, Gateway};
use crate::limits::{ACCEPT_PAUSE, CLIENT_STALL_TIMEOUT, HEADER_READ_TIMEOUT, HEADERS_MAX_BYTES, READ_BUFFER_MAX_BYTES};
use crate::patience::Idle;
use claviger_contract::Broker;
use claviger_runtime::{Supervisor, best_effort};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

impl<B: Broker> Gateway<B> {
    /// Serves a listener until the supervisor stops. Connections are tasks of the supervisor; after a stop each may end the
    /// request that it carries, within the grace of the limits and the supervisor's patience.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, supervisor: &Supervisor) {
        let room = Arc::new(Semaphore::new(self.limits.connections_max));
        let mut stopped = pin!(supervisor.stopped());
        loop {
            let accepted = tokio::select! {
                () = &mut stopped => return,
                accepted = accept(&listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    let gateway = Arc::clone(&self);
                    let stopped = supervisor.stopped();
                    supervisor.spawn("gateway connection", async move {
                        gateway.connection(stream, peer, stopped).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    best_effort("accept a connection", Err::<(), _>(error));
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, stopped: impl Future<Output = ()>) {
        let _open = OpenConnection::new(&self.counters);
        best_effort("switch off Nagle's algorithm", stream.set_nodelay(true));
        let io = TokioIo::new(Guarded { stream, idle: Idle::new(&self.clock, CLIENT_STALL_TIMEOUT) });
        let service = service_fn(|request: Request<Incoming>| {
            let gateway = Arc::clone(&self);
            async move { Ok::<_, Infallible>(gateway.answer(request, peer).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_READ_TIMEOUT)
                .max_header_size(HEADERS_MAX_BYTES)
                .max_buf_size(READ_BUFFER_MAX_BYTES)
                .serve_connection(io, service)
        );
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stopped => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = self.clock.sleep(self.limits.grace) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            // Clients leave in the middle of streams all the time; what a request came to is in its own line.
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection ended");
        }
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    // The kernel's queue holds those for whom there is no room yet.
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Counts a connection while it lives.
struct OpenConnection<'a>(&'a Counters);

impl<'a> OpenConnection<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's connection that fails once the client leaves what it was sent unread for too long.
struct Guarded {
    stream: TcpStream,
    idle: Idle,
}

impl Guarded {
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.idle.moved();
            return written;
        }
        self.idle.poll_expired(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, written)
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
