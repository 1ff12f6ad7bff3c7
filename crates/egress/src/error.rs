//! What can go wrong on the way out, and whether a byte of the request had left by then.

use crate::address::AddressClass;
use claviger_domain::origin::Origin;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Whether the first byte of a request may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstByte {
    /// Proven: no byte of the request was handed to the connection.
    NotSent,
    /// Some byte may have been.
    Sent,
}

/// A request that got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EgressError {
    /// The target is not in the set that the credential may go to; nothing was dialled. Our fault, or a redirection tried by an overlay.
    #[error("{origin} is not among the allowed origins")]
    OriginRefused {
        /// The target.
        origin: Origin,
    },
    /// The name resolves to a place where no credential may go; nothing was dialled. The name's owner's or the configuration's fault.
    #[error("{origin} resolves to {address}, {class}")]
    AddressRefused {
        /// The target.
        origin: Origin,
        /// The first offending address.
        address: IpAddr,
        /// What it is.
        class: AddressClass,
    },
    /// The request has no form that could be sent: `CONNECT`, or a target that is not a path. The caller's fault.
    #[error("a request with this method or target cannot be sent")]
    Unsendable,
    /// The name did not resolve. The network's fault.
    #[error("{origin}: name resolution failed")]
    Resolve {
        /// The target.
        origin: Origin,
        /// Why.
        source: Arc<io::Error>,
    },
    /// No address could be connected to. The network's or the vendor's fault.
    #[error("{origin}: connecting failed")]
    Connect {
        /// The target.
        origin: Origin,
        /// Why, for the address tried last.
        source: Arc<io::Error>,
    },
    /// The proxy could not be reached, or opened no way to the origin. The proxy's, the network's or the configuration's fault.
    #[error("{origin}: no way through the proxy {proxy}")]
    Proxy {
        /// The target.
        origin: Origin,
        /// The proxy, without its password.
        proxy: String,
        /// Why.
        source: Arc<ProxyError>,
    },
    /// The TLS handshake failed; a certificate that is not trusted is found here.
    #[error("{origin}: the TLS handshake failed")]
    Tls {
        /// The target.
        origin: Origin,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The trusted roots could not be loaded. Our configuration's or the machine's fault.
    #[error("{origin}: no TLS is possible")]
    Trust {
        /// The target.
        origin: Origin,
        /// Why.
        source: Arc<TrustError>,
    },
    /// No connection within [`crate::limits::CONNECT_TIMEOUT`]. The network's fault.
    #[error("{origin}: no connection within {} s", crate::limits::CONNECT_TIMEOUT.as_secs())]
    Timeout {
        /// The target.
        origin: Origin,
    },
    /// The connection was lost before the head of an answer. The network's or the vendor's fault.
    #[error("{origin}: the connection was lost")]
    Lost {
        /// The target.
        origin: Origin,
        /// Whether the request may have been processed.
        first_byte: FirstByte,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl EgressError {
    /// Whether it is proven that no byte of the request left, so that sending it again cannot repeat anything.
    pub fn nothing_sent(&self) -> bool {
        match self {
            Self::OriginRefused { .. }
            | Self::AddressRefused { .. }
            | Self::Unsendable
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Trust { .. }
            | Self::Timeout { .. } => true,
            Self::Lost { first_byte, .. } => *first_byte == FirstByte::NotSent,
        }
    }
}

/// Why a proxy opened no way.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its name did not resolve.
    #[error("the name of the proxy did not resolve")]
    Resolve(#[source] io::Error),
    /// Its name resolves to a place where no proxy is.
    #[error("the proxy resolves to {address}, {}", AddressClass::Never)]
    Address {
        /// The address.
        address: IpAddr,
    },
    /// It could not be connected to.
    #[error("connecting to the proxy failed")]
    Connect(#[source] io::Error),
    /// The connection ended before the way was open.
    #[error("the proxy ended the connection")]
    Lost(#[source] io::Error),
    /// It wants another name or password, or one at all.
    #[error("the proxy refuses the name or the password")]
    Login,
    /// It answered `CONNECT` with a refusal.
    #[error("the proxy answered {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// It answered SOCKS with a refusal (RFC 1928 §6).
    #[error("the proxy answered with SOCKS reply {reply}")]
    Socks {
        /// The reply.
        reply: u8,
    },
    /// It does not speak as its scheme says.
    #[error("the proxy does not speak the protocol that its URL names")]
    NotSpoken,
}

/// Why there are no trusted roots.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The configured file cannot be read or holds something else than PEM certificates.
    #[error("the CA file {path} cannot be used")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The configured file holds no certificate.
    #[error("the CA file {path} holds no certificate")]
    CaFileEmpty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of the configured file is not usable as a root.
    #[error("a certificate in the CA file {path} is not usable")]
    CaCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The system has no trusted roots and no CA file is configured.
    #[error("the system has no trusted root certificates; install them or configure a CA file")]
    NoRoots,
    /// The TLS library refused its own defaults.
    #[error("the TLS library cannot be set up")]
    Library(#[source] rustls::Error),
    /// The thread that reads the roots did not end.
    #[error("loading the root certificates was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}
