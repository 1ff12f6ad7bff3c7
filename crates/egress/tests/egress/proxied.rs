//! Through a proxy: what it is told, what it is not, and what is never sent around it.

use crate::upstream::{Peer, Told, Upstream, egress, only, post, still};
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::Origin;
use claviger_egress::{Egress, EgressConfig, EgressError, ProxyError};
use http_body_util::BodyExt;
use std::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::join;
use tokio::net::TcpStream;

const CANARY: &str = "canary-pw";

fn proxy(scheme: &str, login: &str, upstream: &Upstream) -> ProxyUrl {
    format!("{scheme}://{login}{}", upstream.address()).parse().unwrap()
}

async fn bytes<const N: usize>(peer: &mut Peer<TcpStream>) -> [u8; N] {
    let mut bytes = [0; N];
    peer.0.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_proxy_gets_its_login_and_the_provider_gets_the_request() {
    let upstream = Upstream::bind().await;
    let egress = egress().through(Some(&proxy("http", "me:canary-pw@", &upstream)));
    let origin: Origin = "http://127.0.0.1:9".parse().unwrap();
    let allowed = only(&origin);
    let (answer, (head, request)) = join!(egress.send(&origin, &allowed, post("/v1/x", "body")), async {
        let mut peer = upstream.accept().await;
        let head = peer.request().await;
        peer.write("HTTP/1.1 200 Connection established\r\nvia: 1.1 somebody\r\n\r\n").await;
        (head, peer.answer("fine").await)
    });
    assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "fine");
    assert_eq!(head, "CONNECT 127.0.0.1:9 HTTP/1.1\r\nhost: 127.0.0.1:9\r\nproxy-authorization: Basic bWU6Y2FuYXJ5LXB3\r\n\r\n");
    assert!(request.starts_with("POST /v1/x HTTP/1.1\r\n") && !request.contains("proxy-authorization"), "{request}");
}

#[tokio::test]
async fn socks_names_the_origin_after_the_login_that_it_asks_for() {
    for (login, greeting, method) in [("", &[5, 1, 0][..], 0), ("me:canary-pw@", &[5, 2, 0, 2], 2), ("me:canary-pw@", &[5, 2, 0, 2], 0)] {
        let upstream = Upstream::bind().await;
        let egress = egress().through(Some(&proxy("socks5h", login, &upstream)));
        let origin: Origin = "http://localhost:9".parse().unwrap();
        let allowed = only(&origin);
        let (connection, ()) = join!(egress.connect(&origin, &allowed), async {
            let mut peer = upstream.accept().await;
            let mut offered = vec![0; greeting.len()];
            peer.0.read_exact(&mut offered).await.unwrap();
            assert_eq!(offered, greeting);
            peer.0.write_all(&[5, method]).await.unwrap();
            if method == 2 {
                assert_eq!(&bytes::<14>(&mut peer).await, b"\x01\x02me\x09canary-pw");
                peer.0.write_all(&[1, 0]).await.unwrap();
            }
            assert_eq!(&bytes::<16>(&mut peer).await, b"\x05\x01\x00\x03\x09localhost\x00\x09");
            peer.0.write_all(b"\x05\x00\x00\x03\x04here\x04\x38").await.unwrap();
        });
        assert!(connection.is_ok(), "{login} {method}: {connection:?}");
    }
}

/// The error of a tunnel whose proxy answers with these bytes, whatever it is asked.
async fn refused(scheme: &str, answers: &[&[u8]]) -> ProxyErrorSeen {
    let upstream = Upstream::bind().await;
    let egress = egress().through(Some(&proxy(scheme, "me:canary-pw@", &upstream)));
    let origin: Origin = "https://api.example".parse().unwrap();
    let allowed = only(&origin);
    let (outcome, ()) = join!(egress.connect(&origin, &allowed), async {
        let mut peer = upstream.accept().await;
        for answer in answers {
            let mut asked = [0; 512];
            assert!(peer.0.read(&mut asked).await.unwrap() > 0);
            peer.0.write_all(answer).await.unwrap();
        }
    });
    let error = outcome.unwrap_err();
    assert!(error.nothing_sent());
    let mut text = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    assert!(!text.contains(CANARY) && !text.contains("Y2FuYXJ5"), "{text}");
    ProxyErrorSeen(error)
}

struct ProxyErrorSeen(EgressError);

impl ProxyErrorSeen {
    fn cause(&self) -> &ProxyError {
        match &self.0 {
            EgressError::Proxy { source, .. } => source,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_proxy_refuses_is_told_apart_and_without_its_password() {
    assert!(matches!(refused("http", &[b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"]).await.cause(), ProxyError::Login));
    assert!(matches!(refused("http", &[b"HTTP/1.1 403 No\r\n\r\n"]).await.cause(), ProxyError::Status { status: 403 }));
    assert!(matches!(refused("http", &[b"SSH-2.0-x\r\n\r\n"]).await.cause(), ProxyError::NotSpoken));
    assert!(matches!(refused("http", &[b"HTTP/1.1 200 O"]).await.cause(), ProxyError::Lost(_)));
    assert!(matches!(refused("socks5", &[&[5, 255]]).await.cause(), ProxyError::Login));
    assert!(matches!(refused("socks5", &[&[5, 2], &[1, 1]]).await.cause(), ProxyError::Login));
    assert!(matches!(refused("socks5", &[&[5, 0], &[5, 5, 0, 1]]).await.cause(), ProxyError::Socks { reply: 5 }));
    assert!(matches!(refused("socks5", &[b"HT"]).await.cause(), ProxyError::NotSpoken));
}

#[tokio::test]
async fn an_endless_answer_of_a_proxy_is_cut_off() {
    let flood = vec![b'x'; 64 * 1024];
    assert!(matches!(refused("http", &[&flood]).await.cause(), ProxyError::NotSpoken));
}

#[tokio::test]
async fn connections_are_shared_by_those_of_one_proxy_alone() {
    let (one, two, direct) = (Upstream::bind().await, Upstream::bind().await, Upstream::bind().await);
    let (origin, allowed, egress) = (direct.origin(), only(&direct.origin()), egress());
    let ways = [Some(proxy("http", "a@", &one)), Some(proxy("http", "a@", &two)), Some(proxy("http", "b@", &one)), None];
    for way in &ways {
        let through = egress.through(way.as_ref());
        let place = way.as_ref().map_or(&direct, |way| if way.port() == one.address().port() { &one } else { &two });
        let (answer, mut peer) = join!(through.send(&origin, &allowed, post("/", "")), async {
            let mut peer = place.accept().await;
            if way.is_some() {
                peer.request().await;
                peer.write("HTTP/1.1 200 OK\r\n\r\n").await;
            }
            peer.answer("first").await;
            peer
        });
        answer.unwrap().into_body().collect().await.unwrap();
        let (again, _) = join!(through.send(&origin, &allowed, post("/", "")), peer.answer("second"));
        assert_eq!(again.unwrap().into_body().collect().await.unwrap().to_bytes(), "second", "{way:?}");
    }
    assert!(one.was_left_alone() && two.was_left_alone() && direct.was_left_alone());
}

#[tokio::test]
async fn a_proxy_elsewhere_is_not_asked_for_what_is_on_this_machine() {
    let (upstream, elsewhere) = (Upstream::bind().await, "http://proxy.example:3128".parse().unwrap());
    let egress = egress().through(Some(&elsewhere));
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let (answer, request) = join!(egress.send(&origin, &allowed, post("/", "x")), async { upstream.accept().await.answer("").await });
    assert!(answer.is_ok() && request.starts_with("POST / "), "{request}");
}

#[tokio::test]
async fn a_private_proxy_is_used_a_metadata_service_is_not_and_neither_is_an_origin_inside() {
    let near = Upstream::bind().await;
    let origin: Origin = "https://api.example".parse().unwrap();
    for (address, refused) in [("169.254.169.254:80", true), ("[fd00:ec2::254]:80", true)] {
        let egress =
            Egress::with_resolver(EgressConfig::default(), std::sync::Arc::new(Told(Some(vec![address.parse().unwrap()]))), still());
        let proxied = egress.through(Some(&"http://proxy.example".parse().unwrap()));
        let error = proxied.connect(&origin, &only(&origin)).await.unwrap_err();
        assert_eq!(
            matches!(&error, EgressError::Proxy { source, .. } if matches!(**source, ProxyError::Address { .. })),
            refused,
            "{error:?}"
        );
    }
    let inside: Origin = "https://10.1.2.3".parse().unwrap();
    let error = egress().through(Some(&proxy("http", "", &near))).connect(&inside, &only(&inside)).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressRefused { .. }), "{error:?}");
    assert!(near.was_left_alone());
}
