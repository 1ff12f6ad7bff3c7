//! The data path: what is sent, over which connection, and what a lost one means.

use crate::upstream::{Upstream, egress, header, only, post};
use bytes::Bytes;
use claviger_egress::{EgressError, FirstByte, InBody, OutBody};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::join;

async fn text(answer: Response<InBody>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn two_requests_share_one_connection() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let mut peer = None;
    for body in ["one", "two"] {
        let (answer, ()) = join!(egress.send(&origin, &allowed, post("/v1/messages?beta=true", body)), async {
            if peer.is_none() {
                peer = Some(upstream.accept().await);
            }
            let request = peer.as_mut().unwrap().answer("fine").await;
            assert!(request.starts_with("POST /v1/messages?beta=true HTTP/1.1\r\n") && request.ends_with(body), "{request}");
        });
        assert_eq!(text(answer.unwrap()).await, "fine");
    }
}

#[tokio::test]
async fn a_flush_forgets_idle_connections() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    for _ in 0..2 {
        let (answer, mut peer) = join!(egress.send(&origin, &allowed, post("/", "")), async {
            let mut peer = upstream.accept().await;
            peer.answer("fine").await;
            peer
        });
        text(answer.unwrap()).await;
        egress.flush();
        peer.closed().await;
    }
}

#[tokio::test]
async fn an_origin_outside_the_allowed_set_is_not_dialled() {
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let egress = egress();
    let refused = egress.send(&upstream.origin(), &only(&other.origin()), post("/", "")).await.unwrap_err();
    assert!(matches!(refused, EgressError::OriginRefused { .. }) && refused.nothing_sent());
    let refused = egress.connect(&upstream.origin(), &only(&other.origin())).await.unwrap_err();
    assert!(matches!(refused, EgressError::OriginRefused { .. }));
    assert!(upstream.was_left_alone() && other.was_left_alone());
}

#[tokio::test]
async fn scheme_host_and_framing_are_ours_whatever_the_request_says() {
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let request = Request::post(format!("{}/a?b", other.origin()))
        .header("host", "other.example")
        .header("content-length", "999")
        .header("transfer-encoding", "chunked")
        .version(http::Version::HTTP_2)
        .body(OutBody::Full(Bytes::from_static(b"body")))
        .unwrap();
    let egress = egress();
    let (answer, request) = join!(egress.send(&origin, &allowed, request), async { upstream.accept().await.answer("").await });
    answer.unwrap();
    assert!(request.starts_with("POST /a?b HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(header(&request, "content-length"), Some("4"));
    assert_eq!(header(&request, "transfer-encoding"), None);
    assert!(other.was_left_alone());
}

#[tokio::test]
async fn nothing_is_added_that_asks_for_compression() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let (answer, request) = join!(egress.send(&origin, &allowed, post("/", "x")), async { upstream.accept().await.answer("").await });
    answer.unwrap();
    let names: Vec<_> = request.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    assert_eq!(names, ["host", "content-length"]);
}

#[tokio::test]
async fn connect_requests_and_targets_that_are_no_path_are_refused() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    for (method, uri) in [(Method::CONNECT, "host.example:443"), (Method::OPTIONS, "*")] {
        let request = Request::builder().method(method).uri(uri).body(OutBody::Empty).unwrap();
        assert!(matches!(egress.send(&origin, &allowed, request).await, Err(EgressError::Unsendable)));
    }
    assert!(upstream.was_left_alone());
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let (upstream, other, egress) = (Upstream::bind().await, Upstream::bind().await, egress());
    let (origin, mut allowed) = (upstream.origin(), only(&upstream.origin()));
    allowed.insert(other.origin());
    let (answer, ()) = join!(egress.send(&origin, &allowed, post("/", "x")), async {
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.write(&format!("HTTP/1.1 307 Moved\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n", other.origin())).await;
    });
    assert_eq!(answer.unwrap().status(), 307);
    assert!(other.was_left_alone());
}

#[tokio::test]
async fn dropping_an_answers_body_closes_the_upstream_connection() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let (answer, mut peer) = join!(egress.send(&origin, &allowed, post("/", "x")), async {
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        peer
    });
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    drop(body);
    peer.closed().await;
}

#[tokio::test]
async fn dropping_a_request_that_waits_closes_the_upstream_connection() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let mut peer = tokio::select! {
        _ = egress.send(&origin, &allowed, post("/", "x")) => panic!("there is no answer"),
        peer = async { let mut peer = upstream.accept().await; peer.request().await; peer } => peer,
    };
    peer.closed().await;
}

#[tokio::test]
async fn a_refused_connection_has_sent_nothing() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    drop(upstream);
    let error = egress.send(&origin, &allowed, post("/", "x")).await.unwrap_err();
    assert!(matches!(error, EgressError::Connect { .. }) && error.nothing_sent(), "{error:?}");
}

#[tokio::test]
async fn a_connection_lost_after_the_request_may_have_sent_it() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let (lost, ()) = join!(egress.send(&origin, &allowed, post("/", "x")), async {
        upstream.accept().await.request().await;
    });
    let lost = lost.unwrap_err();
    assert!(matches!(lost, EgressError::Lost { first_byte: FirstByte::Sent, .. }) && !lost.nothing_sent(), "{lost:?}");
}

#[tokio::test]
async fn a_pooled_connection_that_the_upstream_has_closed_is_not_used_again() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    for _ in 0..20 {
        let (answer, request) =
            join!(egress.send(&origin, &allowed, post("/", "again")), async { upstream.accept().await.answer("fine").await });
        assert_eq!(text(answer.unwrap()).await, "fine");
        assert!(request.ends_with("again"), "{request}");
        // The reactor runs, and tells the connection's task of the close.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_boxed_body_arrives_whole() {
    let (upstream, egress) = (Upstream::bind().await, egress());
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let request = Request::post("/").body(OutBody::boxed(Full::new(Bytes::from_static(b"boxed")))).unwrap();
    let (answer, request) = join!(egress.send(&origin, &allowed, request), async { upstream.accept().await.answer("").await });
    answer.unwrap();
    assert!(request.ends_with("\r\n\r\nboxed"), "{request}");
}
