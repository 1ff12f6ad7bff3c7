//! From an origin to a connection: resolve, check every address, dial a checked one, TLS.

use crate::address::AddressClass;
use crate::error::EgressError;
use crate::limits::{ADDRESSES_MAX, CONNECT_TIMEOUT, FALLBACK_DELAY};
use crate::proxy;
use crate::stream::{Stream, tune};
use crate::trust::{Protocols, Trust};
use arc_swap::ArcSwap;
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::{Origin, Scheme};
use claviger_runtime::{BoxFuture, Clock};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Turns a name into addresses. An IP literal never gets here.
pub trait Resolve: Send + Sync + fmt::Debug + 'static {
    /// The addresses of `host`, in the order in which they should be tried.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Opens connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) trust: Trust,
    /// Origins whose names may resolve to private and loopback addresses.
    pub(crate) private: ArcSwap<BTreeSet<Origin>>,
}

impl Dialer {
    /// A new connection, TLS done, through the proxy where there is one, within [`CONNECT_TIMEOUT`]. Cancel safe: dropping it closes what was opened.
    pub(crate) async fn dial(&self, origin: &Origin, protocols: Protocols, proxy: Option<&ProxyUrl>) -> Result<Stream, EgressError> {
        tokio::select! {
            biased;
            opened = self.open(origin, protocols, proxy) => opened,
            () = self.clock.sleep(CONNECT_TIMEOUT) => Err(EgressError::Timeout { origin: origin.clone() }),
        }
    }

    async fn open(&self, origin: &Origin, protocols: Protocols, proxy: Option<&ProxyUrl>) -> Result<Stream, EgressError> {
        let socket = if let Some(proxy) = proxy::between(proxy, origin) {
            self.check_literal(origin)?;
            self.tunnel(proxy, origin).await?
        } else {
            let addresses = self.checked_addresses(origin).await?;
            let connected = self.connect_any(addresses).await;
            connected.map_err(|source| EgressError::Connect { origin: origin.clone(), source: Arc::new(source) })?
        };
        tune(&socket);
        match origin.scheme() {
            Scheme::Http => Ok(Stream::Clear(TokioIo::new(socket))),
            Scheme::Https => self.handshake(origin, protocols, socket).await,
        }
    }

    /// The addresses of an origin, all of which may be dialled: one that may not refuses the whole name, since its owner
    /// would else decide by the order of the answer.
    async fn checked_addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, EgressError> {
        let failed = |source| EgressError::Resolve { origin: origin.clone(), source: Arc::new(source) };
        let host = bare_host(origin);
        let mut addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, origin.port())],
            Err(_name) => self.resolver.resolve(host, origin.port()).await.map_err(failed)?,
        };
        if addresses.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        addresses.iter().try_for_each(|address| self.check(origin, address.ip()))?;
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }

    /// Checks an origin that is an address: behind a proxy that is all that can be known of where it is.
    fn check_literal(&self, origin: &Origin) -> Result<(), EgressError> {
        bare_host(origin).parse().map_or(Ok(()), |address| self.check(origin, address))
    }

    fn check(&self, origin: &Origin, address: IpAddr) -> Result<(), EgressError> {
        let class = AddressClass::of(address);
        let refused = || EgressError::AddressRefused { origin: origin.clone(), address, class };
        if self.may_dial(origin, class) { Ok(()) } else { Err(refused()) }
    }

    fn may_dial(&self, origin: &Origin, class: AddressClass) -> bool {
        if origin.is_loopback() || origin.scheme() == Scheme::Http {
            return class == AddressClass::Loopback;
        }
        match class {
            AddressClass::Global => true,
            AddressClass::Private | AddressClass::Loopback => self.private.load().contains(origin),
            AddressClass::Never => false,
        }
    }

    /// Connects to the first address that answers. The family of the first address has a head start of
    /// [`FALLBACK_DELAY`] over the other (RFC 8305, with one race instead of one per address).
    pub(crate) async fn connect_any(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let each_timeout = CONNECT_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let preferred_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
        let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == preferred_is_v6);
        let mut preferred = pin!(self.connect_each(&first, each_timeout));
        if second.is_empty() {
            return preferred.await;
        }
        let head_start = self.clock.sleep(FALLBACK_DELAY);
        let mut fallback = pin!(self.connect_each(&second, each_timeout));
        tokio::select! {
            biased;
            done = &mut preferred => return if done.is_ok() { done } else { fallback.await },
            () = head_start => {}
        }
        tokio::select! {
            biased;
            done = &mut preferred => if done.is_ok() { done } else { fallback.await },
            done = &mut fallback => if done.is_ok() { done } else { preferred.await },
        }
    }

    /// Tries addresses one after the other; the last failure stands for all.
    async fn connect_each(&self, addresses: &[SocketAddr], each_timeout: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to dial");
        for address in addresses {
            let connected = tokio::select! {
                biased;
                connected = TcpStream::connect(address) => connected,
                () = self.clock.sleep(each_timeout) => Err(io::ErrorKind::TimedOut.into()),
            };
            match connected {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn handshake(&self, origin: &Origin, protocols: Protocols, socket: TcpStream) -> Result<Stream, EgressError> {
        let failed = |source| EgressError::Tls { origin: origin.clone(), source: Arc::new(source) };
        let config =
            self.trust.config(protocols).await.map_err(|source| EgressError::Trust { origin: origin.clone(), source: Arc::new(source) })?;
        let name = ServerName::try_from(bare_host(origin).to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let tls = TlsConnector::from(config).connect(name, socket).await.map_err(failed)?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }
}

/// The host as resolvers and TLS know it: an IPv6 address without its brackets.
fn bare_host(origin: &Origin) -> &str {
    bare(origin.host())
}

/// A host without the brackets of an IPv6 address.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
