//! The wire to the token endpoint: TLS in front of the provider, that can be cut in every way that precedes a request.

use claviger_domain::origin::Origin;
use claviger_runtime::{BoxFuture, Supervisor};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The name of the token endpoint; it is nowhere but in the resolver of the workers.
const NAME: &str = "token.proof.test";

/// How the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It works.
    Fair,
    /// The name does not resolve.
    NoName,
    /// Nobody listens.
    Refused,
    /// A peer whose certificate nobody trusts: a portal of some hotel.
    WrongPeer,
    /// A peer that says something else than TLS.
    NoTls,
    /// A peer that accepts and says nothing.
    Silent,
}

/// A wire with its files in the folder of a stage.
pub(crate) struct Wire {
    weather: watch::Sender<Weather>,
    names: PathBuf,
    address: SocketAddr,
}

impl Wire {
    /// Listens, and writes what workers need: the certificate and the origin.
    pub(crate) async fn start(folder: &Path, provider: SocketAddr, tasks: &Supervisor) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (good, certificate) = acceptor();
        let (wrong, _) = acceptor();
        std::fs::write(folder.join("ca.pem"), certificate).unwrap();
        std::fs::write(folder.join("origin"), format!("https://{NAME}:{}", address.port())).unwrap();
        let (weather, seen) = watch::channel(Weather::Fair);
        tasks.spawn("wire", serve(listener, address, (good, wrong), (seen, provider)));
        Self { weather, names: folder.join("no-names"), address }
    }

    /// The origin of the token endpoint.
    pub(crate) fn origin(&self) -> String {
        format!("https://{NAME}:{}", self.address.port())
    }

    /// Changes the weather, and waits until nobody listens where nobody is to listen.
    pub(crate) async fn set(&self, weather: Weather) {
        if weather == Weather::NoName {
            std::fs::write(&self.names, []).unwrap();
        } else if self.names.exists() {
            std::fs::remove_file(&self.names).unwrap();
        }
        self.weather.send_replace(weather);
        let closed = weather == Weather::Refused;
        while TcpStream::connect(self.address).await.is_err() != closed {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    (good, wrong): (TlsAcceptor, TlsAcceptor),
    (mut weather, provider): (watch::Receiver<Weather>, SocketAddr),
) {
    let connections = Supervisor::new();
    let mut open = Some(listener);
    loop {
        if *weather.borrow_and_update() == Weather::Refused {
            drop(open.take());
        } else if open.is_none() {
            open = Some(TcpListener::bind(address).await.expect("nobody takes a port that the wire has just had"));
        }
        let accepted = async {
            match &open {
                Some(listener) => listener.accept().await.map(|(stream, _)| stream).ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            Some(stream) = accepted => {
                let now = *weather.borrow();
                let (good, wrong) = (good.clone(), wrong.clone());
                connections.spawn("a connection of the wire", async move {
                    // Whatever ends a connection here is what its client has to live with.
                    drop(carry(stream, now, (good, wrong), provider).await);
                });
            }
        }
    }
}

async fn carry(mut stream: TcpStream, weather: Weather, (good, wrong): (TlsAcceptor, TlsAcceptor), provider: SocketAddr) -> io::Result<()> {
    match weather {
        Weather::Fair | Weather::NoName => {
            let mut client = good.accept(stream).await?;
            let mut server = TcpStream::connect(provider).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        }
        Weather::WrongPeer => drop(wrong.accept(stream).await?),
        Weather::NoTls => stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: http://portal.test/\r\n\r\n").await?,
        Weather::Silent => std::future::pending().await,
        Weather::Refused => {}
    }
    Ok(())
}

/// A server with a certificate of its own, and what it is trusted by.
fn acceptor() -> (TlsAcceptor, String) {
    let certified = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certified.cert.der().clone()];
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certified.cert.pem())
}

/// What a worker knows of the wire.
pub(crate) struct Known {
    pub(crate) ca_file: PathBuf,
    pub(crate) origin: Origin,
    pub(crate) names: Names,
}

impl Known {
    /// What the folder of a stage says; `None` for a stage without a wire.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let origin = std::fs::read_to_string(folder.join("origin")).ok()?;
        Some(Self { ca_file: folder.join("ca.pem"), origin: origin.parse().unwrap(), names: Names(folder.join("no-names")) })
    }
}

/// The resolver of a worker: knows one name, unless a file says that it knows none.
#[derive(Debug)]
pub(crate) struct Names(PathBuf);

impl claviger_egress::Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let known = host == NAME && !self.0.exists();
        let found = if known { Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]) } else { Err(io::Error::other("no such name")) };
        Box::pin(std::future::ready(found))
    }
}
