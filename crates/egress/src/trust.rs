//! Whom TLS trusts: the system's roots and an optional file of further ones, loaded at the first https dial.

use crate::error::TrustError;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What is offered to the server by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// HTTP/2, else HTTP/1.1.
    Http2OrHttp1,
    /// HTTP/1.1 alone: one connection, one request, nothing shared.
    Http1,
}

/// The TLS configurations. Loading is lazy, since reading the system's roots takes tens of milliseconds and a start
/// must not; a failed load is tried again at the next dial.
#[derive(Debug)]
pub(crate) struct Trust {
    ca_file: Option<PathBuf>,
    loaded: OnceCell<Configs>,
}

#[derive(Debug)]
struct Configs {
    pooled: Arc<ClientConfig>,
    fresh: Arc<ClientConfig>,
}

impl Trust {
    pub(crate) fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, loaded: OnceCell::new() }
    }

    pub(crate) async fn config(&self, protocols: Protocols) -> Result<Arc<ClientConfig>, TrustError> {
        let configs = self.loaded.get_or_try_init(|| self.load()).await?;
        Ok(Arc::clone(match protocols {
            Protocols::Http2OrHttp1 => &configs.pooled,
            Protocols::Http1 => &configs.fresh,
        }))
    }

    async fn load(&self) -> Result<Configs, TrustError> {
        let ca_file = self.ca_file.clone();
        let roots = tokio::task::spawn_blocking(move || roots(ca_file.as_deref())).await.map_err(TrustError::Interrupted)??;
        let mut pooled = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Library)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut fresh = pooled.clone();
        pooled.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        fresh.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Configs { pooled: Arc::new(pooled), fresh: Arc::new(fresh) })
    }
}

/// The system's roots and those of the file. The system's may be damaged in part, the file may not.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a part of the system's root certificates cannot be loaded");
    }
    let (_, unusable) = roots.add_parsable_certificates(native.certs);
    if unusable > 0 {
        tracing::debug!(unusable, "some of the system's root certificates are not usable");
    }
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    if roots.is_empty() { Err(TrustError::NoRoots) } else { Ok(roots) }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let unreadable = |source| TrustError::CaFile { path: path.to_owned(), source };
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|source| TrustError::CaCertificate { path: path.to_owned(), source })?;
    }
    if roots.len() == before { Err(TrustError::CaFileEmpty { path: path.to_owned() }) } else { Ok(()) }
}
