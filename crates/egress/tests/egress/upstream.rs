//! The other side: listeners that the tests drive byte by byte, a clock that never runs, and a resolver that is told what to say.

use claviger_domain::origin::Origin;
use claviger_domain::time::Timestamp;
use claviger_egress::{Egress, EgressConfig, OutBody, Resolve};
use claviger_runtime::{BoxFuture, Clock};
use http::Request;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Sleeps of at most this length are over at once; longer ones never end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StillClock(pub(crate) Duration);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn boot(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration <= self.0 { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
    }
}

/// Every name has these addresses; `None` never answers.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) Option<Vec<SocketAddr>>);

impl Resolve for Told {
    fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        match &self.0 {
            Some(addresses) => Box::pin(std::future::ready(Ok(addresses.clone()))),
            None => Box::pin(std::future::pending()),
        }
    }
}

pub(crate) fn still() -> Arc<StillClock> {
    Arc::new(StillClock(Duration::ZERO))
}

pub(crate) fn egress() -> Egress {
    Egress::new(EgressConfig::default(), still())
}

pub(crate) fn only(origin: &Origin) -> BTreeSet<Origin> {
    BTreeSet::from([origin.clone()])
}

pub(crate) fn post(path: &str, body: &'static str) -> Request<OutBody> {
    Request::post(path).body(OutBody::from(bytes::Bytes::from_static(body.as_bytes()))).unwrap()
}

/// A listener on loopback.
pub(crate) struct Upstream(TcpListener);

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn origin(&self) -> Origin {
        format!("http://{}", self.address()).parse().unwrap()
    }

    pub(crate) async fn accept(&self) -> Peer<TcpStream> {
        Peer(self.0.accept().await.unwrap().0)
    }

    /// Whether nobody has connected since the last accept.
    pub(crate) fn was_left_alone(self) -> bool {
        // The kernel is asked itself: the runtime may not have seen the connection yet.
        self.0.into_std().unwrap().accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// The upstream's end of one connection.
pub(crate) struct Peer<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads one request: head and, after its `content-length`, body.
    pub(crate) async fn request(&mut self) -> String {
        let mut text = String::new();
        loop {
            let byte = self.0.read_u8().await.unwrap();
            text.push(char::from(byte));
            if text.ends_with("\r\n\r\n") {
                break;
            }
        }
        let length = header(&text, "content-length").map_or(0, |value| value.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
        text
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(crate) async fn answer(&mut self, body: &str) -> String {
        let request = self.request().await;
        self.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        request
    }

    /// Ends once the client has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is a close as well.
        drop(self.0.read_to_end(&mut rest).await);
    }
}

pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
