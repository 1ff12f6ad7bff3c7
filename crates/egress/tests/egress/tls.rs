//! TLS: trust, the protocol that was agreed on, and clear errors where there is none.

use crate::upstream::{Peer, Upstream, header, only, post, still};
use claviger_domain::origin::Origin;
use claviger_egress::{Egress, EgressConfig, EgressError, FirstByte, TrustError};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivateKeyDer;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::join;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate of our own for `localhost`, what it is trusted by, and a server that has it.
struct Authority {
    file: tempfile::NamedTempFile,
    acceptor: TlsAcceptor,
}

impl Authority {
    fn new(alpn: &[&str]) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(certified.cert.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { file, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    fn egress(&self) -> Egress {
        with_ca(self.file.path().to_owned())
    }

    async fn accept(&self, upstream: &Upstream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(upstream.accept().await.0).await
    }
}

fn with_ca(file: PathBuf) -> Egress {
    Egress::new(EgressConfig { ca_file: Some(file), ..EgressConfig::default() }, still())
}

fn secure(upstream: &Upstream) -> Origin {
    format!("https://127.0.0.1:{}", upstream.address().port()).parse().unwrap()
}

#[tokio::test]
async fn http_2_is_used_where_the_server_offers_it() {
    let (upstream, authority) = (Upstream::bind().await, Authority::new(&["h2", "http/1.1"]));
    let (origin, egress) = (secure(&upstream), authority.egress());
    let allowed = only(&origin);
    let server = async {
        let tls = authority.accept(&upstream).await.unwrap();
        let answer = hyper::service::service_fn(|request: http::Request<_>| async move {
            let _: &http::Request<hyper::body::Incoming> = &request;
            assert_eq!((request.version(), request.headers().get("host")), (http::Version::HTTP_2, None));
            Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<bytes::Bytes>::new()))
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), answer).await.unwrap();
    };
    let client = async {
        for _ in 0..2 {
            let answer = egress.send(&origin, &allowed, post("/", "x")).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
            answer.into_body().collect().await.unwrap();
        }
        egress.flush();
    };
    join!(server, client);
}

#[tokio::test]
async fn http_1_1_is_used_where_the_server_offers_nothing_else() {
    let (upstream, authority) = (Upstream::bind().await, Authority::new(&[]));
    let (origin, egress) = (secure(&upstream), authority.egress());
    let allowed = only(&origin);
    let (answer, request) =
        join!(egress.send(&origin, &allowed, post("/", "x")), async { Peer(authority.accept(&upstream).await.unwrap()).answer("").await });
    assert_eq!(answer.unwrap().version(), http::Version::HTTP_11);
    assert_eq!(header(&request, "host"), Some(format!("127.0.0.1:{}", origin.port()).as_str()));
}

#[tokio::test]
async fn an_exchange_speaks_http_1_1_even_where_http_2_is_offered() {
    let (upstream, authority) = (Upstream::bind().await, Authority::new(&["h2", "http/1.1"]));
    let (origin, egress) = (secure(&upstream), authority.egress());
    let allowed = only(&origin);
    let exchange = async {
        let connection = egress.connect(&origin, &allowed).await.unwrap();
        let request = http::Request::post("/token").body(bytes::Bytes::from_static(b"{}")).unwrap();
        connection.send(request, Duration::from_secs(9), &*still()).await.unwrap()
    };
    let (answer, request) = join!(exchange, async { Peer(authority.accept(&upstream).await.unwrap()).answer("fine").await });
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert_eq!(answer.body.as_slice(), b"fine");
}

#[tokio::test]
async fn a_tls_connection_that_the_peer_has_closed_has_sent_nothing() {
    let (upstream, authority) = (Upstream::bind().await, Authority::new(&[]));
    let (origin, egress) = (secure(&upstream), authority.egress());
    let allowed = only(&origin);
    let (connection, tls) = join!(egress.connect(&origin, &allowed), authority.accept(&upstream));
    tls.unwrap().shutdown().await.unwrap();
    let request = http::Request::post("/token").body(bytes::Bytes::from_static(b"{}")).unwrap();
    let failure = connection.unwrap().send(request, Duration::from_secs(9), &*still()).await.unwrap_err();
    assert_eq!(failure.first_byte, FirstByte::NotSent, "{failure:?}");
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused_before_the_request_leaves() {
    let (upstream, authority, stranger) = (Upstream::bind().await, Authority::new(&[]), Authority::new(&[]));
    let (origin, egress) = (secure(&upstream), authority.egress());
    let allowed = only(&origin);
    let (error, accepted) = join!(egress.send(&origin, &allowed, post("/", "x")), stranger.accept(&upstream));
    let error = error.unwrap_err();
    assert!(matches!(error, EgressError::Tls { .. }) && error.nothing_sent(), "{error:?}");
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named_and_read_again_at_the_next_dial() {
    let (upstream, authority) = (Upstream::bind().await, Authority::new(&[]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    let (origin, egress) = (secure(&upstream), with_ca(path.clone()));
    let allowed = only(&origin);
    for (content, is_expected) in [
        (None, (|error: &TrustError| matches!(error, TrustError::CaFile { .. })) as fn(&TrustError) -> bool),
        (Some("no certificate"), |error| matches!(error, TrustError::CaFileEmpty { .. })),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), |error| matches!(error, TrustError::CaCertificate { .. })),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let (error, _) = join!(egress.send(&origin, &allowed, post("/", "x")), upstream.accept());
        let EgressError::Trust { source, .. } = error.unwrap_err() else { panic!("a trust error was expected") };
        assert!(is_expected(&source) && source.to_string().contains("roots.pem"), "{source:?}");
    }
    std::fs::copy(authority.file.path(), &path).unwrap();
    let (answer, _) =
        join!(egress.send(&origin, &allowed, post("/", "x")), async { Peer(authority.accept(&upstream).await.unwrap()).answer("").await });
    answer.unwrap();
}
