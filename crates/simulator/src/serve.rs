//! The listener: owns the socket and every task of a simulator, and tells the kinds of requests apart.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::capture::{HeadTap, TappedStream};
use crate::config::SimulatorConfig;
use crate::control::Control;
use crate::ledger::Ledger;
use crate::reply::{Cut, ScriptedBody};
use crate::state::Shared;
use crate::{console, credits_endpoint, identity_provider, llm, token_endpoint, usage_endpoint};

/// The pause after a failed accept, which means that the process is out of descriptors.
const ACCEPT_RETRY_MS: u64 = 50;

/// A running fake provider. Dropping it stops it and closes every connection.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    /// The accept loop, which in turn owns the connections. The set ends its task when it is dropped.
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Binds and starts to serve. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(config: SimulatorConfig) -> io::Result<Self> {
        let wanted = config.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = TcpListener::bind(wanted).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, tasks })
    }

    /// The origin that clients are pointed at: `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it saw.
    pub fn ledger(&self) -> Ledger {
        Ledger::new(Arc::clone(&self.shared))
    }

    /// What changes its behaviour.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    /// Stops it and waits until the port is free. The ledger stays readable.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("addr", &self.addr).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let tap = HeadTap::default();
    let io = TokioIo::new(TappedStream::new(stream, tap.clone()));
    let service = service_fn(|request| route(Arc::clone(&shared), request, tap.clone()));
    let served = http1::Builder::new().serve_connection(io, service).await;
    // A client that leaves and a cut of our own both end here, and both are in the ledger already.
    drop(served);
}

async fn route(shared: Arc<Shared>, request: Request<Incoming>, tap: HeadTap) -> Result<Response<ScriptedBody>, Cut> {
    let headers = tap.headers().unwrap_or_else(|| parsed_headers(&request));
    let path = request.uri().path();
    if let Some(verb) = path.strip_prefix(console::PREFIX) {
        let verb = verb.to_owned();
        return console::answer(&shared, request, (&verb, &tap)).await;
    }
    if token_endpoint::is_token_path(path) {
        return token_endpoint::answer(&shared, request, (headers, tap)).await;
    }
    if credits_endpoint::is_credits_path(path) {
        return credits_endpoint::answer(&shared, request, tap).await;
    }
    if usage_endpoint::is_usage_path(path) {
        return usage_endpoint::answer(&shared, request, tap).await;
    }
    if identity_provider::is_login_path(path) {
        let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let origin = format!("http://{host}");
        return identity_provider::answer(&shared, request, (origin, tap)).await;
    }
    llm::answer(&shared, request, (headers, tap)).await
}

/// The headers as the parser has them: names in lower case, repeated ones together.
fn parsed_headers(request: &Request<Incoming>) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
