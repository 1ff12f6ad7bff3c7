//! One token exchange: whole answers, caps, deadlines, and the proof that nothing was sent.

use crate::upstream::{Peer, StillClock, Upstream, egress, header, only};
use bytes::Bytes;
use claviger_egress::limits::{ANSWER_MAX_BYTES, LATE_READ_ROUNDS};
use claviger_egress::{ExchangeError, FirstByte, FreshConnection, RawAnswer, SendFailure};
use claviger_runtime::Clock as _;
use claviger_testkit::SimClock;
use http::Request;
use std::time::Duration;
use tokio::join;
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(30);

async fn connected(upstream: &Upstream) -> (FreshConnection, Peer<TcpStream>) {
    let egress = egress();
    let (origin, allowed) = (upstream.origin(), only(&upstream.origin()));
    let (connection, peer) = join!(egress.connect(&origin, &allowed), upstream.accept());
    (connection.unwrap(), peer)
}

fn request() -> Request<Bytes> {
    Request::post("/oauth/token").body(Bytes::from_static(b"refresh_token=rt-1")).unwrap()
}

async fn send(connection: FreshConnection) -> Result<RawAnswer, SendFailure> {
    connection.send(request(), DEADLINE, &StillClock(Duration::ZERO)).await
}

/// What comes of it when the upstream reads the request, writes this, and closes.
async fn answered(answer: &str) -> Result<RawAnswer, SendFailure> {
    let upstream = Upstream::bind().await;
    let (connection, mut peer) = connected(&upstream).await;
    let (result, ()) = join!(send(connection), async move {
        peer.request().await;
        peer.write(answer).await;
    });
    result
}

#[tokio::test]
async fn a_whole_answer_comes_back_raw_and_the_connection_ends() {
    let upstream = Upstream::bind().await;
    let (connection, mut peer) = connected(&upstream).await;
    let (answer, sent) = join!(send(connection), async {
        let sent = peer.request().await;
        peer.write(
            "HTTP/1.1 429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: 7\r\ncontent-type: text/html\r\n\
             content-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u{1}\u{2}\u{3}",
        )
        .await;
        sent
    });
    peer.closed().await;
    assert!(sent.starts_with("POST /oauth/token HTTP/1.1\r\n") && sent.ends_with("\r\n\r\nrefresh_token=rt-1"), "{sent}");
    assert_eq!(header(&sent, "host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(header(&sent, "accept-encoding"), Some("identity"));
    let answer = answer.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (429, [1, 2, 3].as_slice()));
    assert_eq!(answer.date(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!((answer.retry_after(), answer.content_type()), (Some("7"), Some("text/html")));
    assert!(upstream.was_left_alone());
}

#[tokio::test]
async fn no_debug_output_shows_the_body() {
    let answer = answered("HTTP/1.1 200 OK\r\nset-cookie: canary-1\r\ncontent-length: 8\r\n\r\ncanary-2").await.unwrap();
    assert_eq!(format!("{answer:?}"), "RawAnswer { status: 200, body_bytes: 8, .. }");
}

#[tokio::test]
async fn an_answer_over_the_cap_is_a_failure_and_one_at_the_cap_is_not() {
    let with = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
    assert_eq!(answered(&with(ANSWER_MAX_BYTES)).await.unwrap().body.len(), ANSWER_MAX_BYTES);
    let failure = answered(&with(ANSWER_MAX_BYTES + 1)).await.unwrap_err();
    assert!(matches!(failure, SendFailure { first_byte: FirstByte::Sent, why: ExchangeError::TooLarge }), "{failure:?}");
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let answer = answered("HTTP/1.1 200 OK\r\n\r\nuntil the end").await.unwrap();
    assert_eq!(answer.body.as_slice(), b"until the end");
}

#[tokio::test]
async fn answers_that_break_off_or_are_no_http_fail_after_the_first_byte() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access_token\":\"at",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"acc\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\u{0}\u{0}\u{0}\u{0}",
    ] {
        let failure = answered(answer).await.unwrap_err();
        assert!(
            matches!(failure, SendFailure { first_byte: FirstByte::Sent, why: ExchangeError::Connection(_) }),
            "{answer:?}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn the_deadline_ends_an_exchange_that_hangs_and_closes_its_connection() {
    let upstream = Upstream::bind().await;
    let (connection, mut peer) = connected(&upstream).await;
    let (pass, passed) = tokio::sync::oneshot::channel::<()>();
    let clock = OnSignal(std::sync::Mutex::new(Some(passed)));
    let (failure, ()) = join!(connection.send(request(), DEADLINE, &clock), async {
        peer.request().await;
        pass.send(()).unwrap();
    });
    let failure = failure.unwrap_err();
    assert!(matches!(failure, SendFailure { first_byte: FirstByte::Sent, why: ExchangeError::Deadline }), "{failure:?}");
    peer.closed().await;
}

#[tokio::test]
async fn an_answer_that_came_while_the_process_stood_still_past_the_deadline_is_read() {
    let upstream = Upstream::bind().await;
    let (connection, mut peer) = connected(&upstream).await;
    let (pass, passed) = tokio::sync::oneshot::channel::<()>();
    let clock = OnSignal(std::sync::Mutex::new(Some(passed)));
    let body = "x".repeat(ANSWER_MAX_BYTES - 1);
    let (answer, ()) = join!(connection.send(request(), DEADLINE, &clock), async {
        peer.request().await;
        peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        // Nobody ran between the answer and the deadline.
        pass.send(()).unwrap();
    });
    assert_eq!(answer.unwrap().body.len(), body.len());
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_at_the_deadline_and_not_before() {
    let upstream = Upstream::bind().await;
    let (connection, mut peer) = connected(&upstream).await;
    let clock = SimClock::new();
    let begun = clock.boot();
    let drip = async {
        peer.request().await;
        clock.sleeping(1).await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n").await;
        loop {
            peer.write("x").await;
            clock.advance(Duration::from_secs(1));
            // The other side has the turns that it needs to see each second.
            for _turn in 0..2 * LATE_READ_ROUNDS {
                tokio::task::yield_now().await;
            }
        }
    };
    let failure = tokio::select! {
        biased;
        result = connection.send(request(), DEADLINE, &clock) => result.unwrap_err(),
        () = drip => unreachable!("a drip has no end"),
    };
    assert!(matches!(failure, SendFailure { first_byte: FirstByte::Sent, why: ExchangeError::Deadline }), "{failure:?}");
    assert_eq!(clock.boot().saturating_sub(begun), DEADLINE);
    peer.closed().await;
}

#[tokio::test]
async fn a_connection_that_the_peer_has_closed_has_sent_nothing() {
    let upstream = Upstream::bind().await;
    let (connection, peer) = connected(&upstream).await;
    drop(peer);
    let failure = send(connection).await.unwrap_err();
    assert_eq!(failure.first_byte, FirstByte::NotSent, "{failure:?}");
}

#[tokio::test]
async fn a_request_without_a_sendable_form_has_sent_nothing() {
    let upstream = Upstream::bind().await;
    let (connection, mut peer) = connected(&upstream).await;
    let request = Request::builder().method("CONNECT").uri("host.example:1").body(Bytes::new()).unwrap();
    let failure = connection.send(request, DEADLINE, &StillClock(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(failure, SendFailure { first_byte: FirstByte::NotSent, why: ExchangeError::Unsendable }));
    peer.closed().await;
}

/// A clock whose one sleep ends when it is told.
#[derive(Debug)]
struct OnSignal(std::sync::Mutex<Option<tokio::sync::oneshot::Receiver<()>>>);

impl claviger_runtime::Clock for OnSignal {
    fn now(&self) -> claviger_domain::time::Timestamp {
        claviger_domain::time::Timestamp(0)
    }
    fn boot(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _duration: Duration) -> claviger_runtime::BoxFuture<'static, ()> {
        // Only the first sleep ends: what comes after the deadline must not need a second one.
        let signal = self.0.lock().unwrap().take();
        Box::pin(async move {
            match signal {
                Some(signal) => signal.await.unwrap(),
                None => std::future::pending().await,
            }
        })
    }
}
