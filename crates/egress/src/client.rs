//! The pooled data path: one request to one allowed origin.

use crate::body::OutBody;
use crate::dial::{Dialer, Resolve, SystemResolver};
use crate::error::{EgressError, FirstByte};
use crate::exchange::FreshConnection;
use crate::limits::{
    H2_PING_INTERVAL, H2_PING_TIMEOUT, HEADERS_MAX, HEADERS_MAX_BYTES, POOL_IDLE_MAX_PER_HOST, POOL_IDLE_TIMEOUT, PROXY_POOLS_MAX,
};
use crate::stream::Stream;
use crate::trust::{Protocols, Trust};
use arc_swap::ArcSwap;
use bytes::Bytes;
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::{Origin, Scheme};
use claviger_runtime::{BoxFuture, Clock};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How to reach the outside.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// A PEM file of certificates that are trusted beside the system's roots.
    pub ca_file: Option<PathBuf>,
    /// The https origins whose names may resolve to private or loopback addresses, for instance a model server on the
    /// local network. Empty by default, so that no name can point a credential inside.
    pub allow_private: BTreeSet<Origin>,
}

/// The outbound HTTP client. Cheap to clone; all clones share the pool.
///
/// Connection tasks are spawned by the pool on the current runtime, and end with their connection: on idle timeout, on
/// [`Egress::flush`], and when the last clone and the last answer are dropped.
#[derive(Debug, Clone)]
pub struct Egress {
    shared: Arc<Shared>,
    proxy: Option<ProxyUrl>,
}

#[derive(Debug)]
struct Shared {
    dialer: Arc<Dialer>,
    direct: ArcSwap<Pool>,
    /// A pool for each proxy: a connection is used again by those alone who asked for the same way.
    proxied: ArcSwap<HashMap<ProxyUrl, Pool>>,
}

type Pool = Client<Connector, OutBody>;

impl Egress {
    /// A client over the system's resolver. Nothing is loaded or dialled before the first request.
    pub fn new(config: EgressConfig, clock: Arc<dyn Clock>) -> Self {
        Self::with_resolver(config, Arc::new(SystemResolver), clock)
    }

    /// A client over a resolver of the caller's.
    pub fn with_resolver(config: EgressConfig, resolver: Arc<dyn Resolve>, clock: Arc<dyn Clock>) -> Self {
        let EgressConfig { ca_file, allow_private } = config;
        let private = ArcSwap::from_pointee(allow_private);
        let dialer = Arc::new(Dialer { resolver, clock, trust: Trust::new(ca_file), private });
        let direct = ArcSwap::from_pointee(pool(Arc::clone(&dialer), None));
        Self { shared: Arc::new(Shared { dialer, direct, proxied: ArcSwap::default() }), proxy: None }
    }

    /// The same client through a proxy, or directly for `None`. Origins on this machine are reached directly all the same,
    /// unless the proxy is on it too. The check of what a name resolves to is the proxy's: it alone resolves it.
    #[must_use]
    pub fn through(&self, proxy: Option<&ProxyUrl>) -> Self {
        Self { shared: Arc::clone(&self.shared), proxy: proxy.cloned() }
    }

    /// Sends one request to `target` and returns the head of the answer with its streaming body.
    ///
    /// The path and query of the request's URI are kept; scheme, authority, `Host` and framing headers are ours. Nothing
    /// is dialled unless `target` is in `allowed`. No redirect is followed, nothing is decoded. A request that a pooled
    /// connection gave back untouched is put on another one; nothing else is ever sent twice.
    ///
    /// Cancel safe: dropping the future, or the answer's body, closes the upstream's stream or connection. There is no
    /// limit on the time to the answer's head; the caller sets one.
    pub async fn send(
        &self,
        target: &Origin,
        allowed: &BTreeSet<Origin>,
        request: Request<OutBody>,
    ) -> Result<Response<Incoming>, EgressError> {
        admit(target, allowed)?;
        let request = addressed(target, request)?;
        let answer = match &self.proxy {
            None => self.shared.direct.load().request(request),
            Some(proxy) => self.shared.proxied(proxy).request(request),
        };
        answer.await.map_err(|error| classify(target, error))
    }

    /// Opens a connection of its own for one exchange with `target`: HTTP/1.1, TLS done, never pooled.
    ///
    /// All failures precede the first byte of any request.
    pub async fn connect(&self, target: &Origin, allowed: &BTreeSet<Origin>) -> Result<FreshConnection, EgressError> {
        admit(target, allowed)?;
        let authority = authority(target)?;
        let stream = self.shared.dialer.dial(target, Protocols::Http1, self.proxy.as_ref()).await?;
        FreshConnection::new(stream, &authority)
    }

    /// Forgets all idle connections, after a clock gap or a change of networks. Requests under way go on.
    pub fn flush(&self) {
        self.shared.direct.store(Arc::new(pool(Arc::clone(&self.shared.dialer), None)));
        self.shared.proxied.store(Arc::default());
    }

    /// Replaces [`EgressConfig::allow_private`], and forgets idle connections that the old set may have allowed.
    pub fn set_allow_private(&self, origins: BTreeSet<Origin>) {
        self.shared.dialer.private.store(Arc::new(origins));
        self.flush();
    }
}

impl Shared {
    /// The pool of a proxy, made where it is missing.
    fn proxied(&self, proxy: &ProxyUrl) -> Pool {
        if let Some(pool) = self.proxied.load().get(proxy) {
            return pool.clone();
        }
        let made = pool(Arc::clone(&self.dialer), Some(proxy.clone()));
        let mut kept = made.clone();
        self.proxied.rcu(|pools| {
            let mut pools = if pools.len() < PROXY_POOLS_MAX { HashMap::clone(pools) } else { HashMap::new() };
            // Another request may have been first: of two pools one would lose its connections.
            kept = pools.entry(proxy.clone()).or_insert_with(|| made.clone()).clone();
            pools
        });
        kept
    }
}

fn pool(dialer: Arc<Dialer>, proxy: Option<ProxyUrl>) -> Pool {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_MAX_PER_HOST)
        .http1_max_headers(HEADERS_MAX)
        .http1_max_buf_size(HEADERS_MAX_BYTES as usize)
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .http2_keep_alive_interval(H2_PING_INTERVAL)
        .http2_keep_alive_timeout(H2_PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .build(Connector { dialer, proxy })
}

fn admit(target: &Origin, allowed: &BTreeSet<Origin>) -> Result<(), EgressError> {
    if allowed.contains(target) { Ok(()) } else { Err(EgressError::OriginRefused { origin: target.clone() }) }
}

/// The authority as it stands in `Host`: the port only where it is not the scheme's own.
fn authority(target: &Origin) -> Result<Authority, EgressError> {
    let text = match (target.scheme(), target.port()) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => target.host().to_owned(),
        (_, port) => format!("{}:{port}", target.host()),
    };
    Authority::from_maybe_shared(Bytes::from(text)).map_err(|_invalid| EgressError::Unsendable)
}

/// The request as it goes to `target`, whatever its URI said of scheme and host.
fn addressed(target: &Origin, request: Request<OutBody>) -> Result<Request<OutBody>, EgressError> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(EgressError::Unsendable);
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(match target.scheme() {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    });
    uri.authority = Some(authority(target)?);
    uri.path_and_query = Some(path_of(parts.uri)?);
    parts.uri = Uri::from_parts(uri).map_err(|_invalid| EgressError::Unsendable)?;
    parts.version = Version::HTTP_11;
    // What the server side attached, for instance an upgrade handle, must not reach the client side.
    parts.extensions.clear();
    parts.headers.remove(HOST);
    frame_by_body(&mut parts.headers, body.size_hint().exact());
    Ok(Request::from_parts(parts, body))
}

fn path_of(uri: Uri) -> Result<PathAndQuery, EgressError> {
    match uri.into_parts().path_and_query {
        Some(path) if path.as_str().starts_with('/') => Ok(path),
        Some(_) => Err(EgressError::Unsendable),
        None => Ok(PathAndQuery::from_static("/")),
    }
}

/// Removes framing headers that disagree with the body; the connection writes its own.
fn frame_by_body(headers: &mut HeaderMap, exact_len: Option<u64>) {
    headers.remove(TRANSFER_ENCODING);
    let agrees = {
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        match (lengths.next(), lengths.next()) {
            (None, _) => true,
            (Some(one), None) => one.to_str().ok().and_then(|text| text.parse().ok()) == exact_len && exact_len.is_some(),
            (Some(_), Some(_)) => false,
        }
    };
    if !agrees {
        headers.remove(CONTENT_LENGTH);
    }
}

/// What a failure of the pool means. The connector's own error is found again inside the pool's.
fn classify(target: &Origin, error: hyper_util::client::legacy::Error) -> EgressError {
    if let Some(ours) = error.source().and_then(|source| source.downcast_ref::<EgressError>()) {
        return ours.clone();
    }
    // Canceled: the request was handed back unsent. Closed: the connection ended before it took the request.
    let never_started = error.is_connect()
        || error
            .source()
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .is_some_and(|source| source.is_canceled() || source.is_closed());
    let first_byte = if never_started { FirstByte::NotSent } else { FirstByte::Sent };
    EgressError::Lost { origin: target.clone(), first_byte, source: Arc::new(error) }
}

/// Dials for the pool.
#[derive(Debug, Clone)]
struct Connector {
    dialer: Arc<Dialer>,
    proxy: Option<ProxyUrl>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = EgressError;
    type Future = BoxFuture<'static, Result<Stream, EgressError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), EgressError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dialer, proxy } = self.clone();
        Box::pin(async move {
            let origin = Origin::of(&uri).map_err(|_refused| EgressError::Unsendable)?;
            dialer.dial(&origin, Protocols::Http2OrHttp1, proxy.as_ref()).await
        })
    }
}
