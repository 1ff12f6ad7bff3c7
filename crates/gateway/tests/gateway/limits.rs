//! Limits: what is too large, too many, too slow, and what a panic takes along.

use crate::client::{self, Request};
use crate::rig::{Rig, Setup, chat};
use claviger_gateway::{GatewayConfig, Limits, limits};
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn rig_of(limits: Limits) -> Rig {
    Rig::with(Setup { config: GatewayConfig { limits, ..GatewayConfig::default() }, ..Setup::default() }).await
}

#[tokio::test]
async fn too_many_and_too_large_headers_are_refused() {
    let rig = Rig::start().await;
    let many = (0..=limits::HEADERS_MAX).fold(chat(), |request, index| request.header(&format!("x-{index}"), "1"));
    assert!(rig.raw(&many).await.starts_with("HTTP/1.1 431 "));
    let large = chat().header("x-large", &"x".repeat(limits::HEADERS_MAX_BYTES));
    assert!(rig.raw(&large).await.starts_with("HTTP/1.1 431 "));
    let fine = chat().header("x-large", &"x".repeat(limits::HEADERS_MAX_BYTES / 2));
    assert!(rig.raw(&fine).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read_or_breaks_off() {
    let rig = rig_of(Limits { body_max_bytes: 1000, replay_request_max_bytes: 100, ..Limits::default() }).await;
    let answer = rig.send(&chat().body(vec![b' '; 1001])).await;
    assert_eq!(answer.status, 413);
    assert_eq!(rig.ledger().requests_count(), 0);
    let chunk = format!("300\r\n{}\r\n", " ".repeat(0x300));
    let endless = chat().header("Transfer-Encoding", "chunked").body(format!("{chunk}{chunk}0\r\n\r\n"));
    let answer = rig.raw(&endless).await;
    assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(rig.ledger().requests().iter().all(|request| request.body.is_empty()), "no part passed for the whole");
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    stream.write_all(&chat().header("Content-Length", "1000").bytes(rig.addr)).await.unwrap();
    rig.clock.slept(limits::BODY_IDLE_TIMEOUT).await;
    rig.clock.advance(limits::BODY_IDLE_TIMEOUT);
    rig.clock.slept(limits::DISCARD_TIMEOUT).await;
    rig.clock.advance(limits::DISCARD_TIMEOUT);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_writes_all_before_it_reads() {
    let rig = Rig::start().await;
    let mut request = chat().body(vec![b' '; 900_000]);
    request.headers = vec![("Connection".to_owned(), "close".to_owned())];
    let answer = client::raw(rig.addr, &request.bytes(rig.addr)).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_expects_to_be_asked_for_its_body_is_refused_without_it() {
    let rig = Rig::start().await;
    let mut request = Request::new("POST", "/v1/chat/completions").header("Expect", "100-continue").header("Content-Length", "5");
    let refused = client::raw(rig.addr, &request.bytes(rig.addr)).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    request = chat().header("Expect", "100-continue");
    let answer = rig.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(rig.ledger().requests()[0].header("expect"), None);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let rig = rig_of(Limits { connections_max: 1, ..Limits::default() }).await;
    let first = TcpStream::connect(rig.addr).await.unwrap();
    let mut second = TcpStream::connect(rig.addr).await.unwrap();
    second.write_all(&Request::new("GET", "/livez").header("Connection", "close").bytes(rig.addr)).await.unwrap();
    let mut answer = String::new();
    {
        let mut reading = std::pin::pin!(second.read_to_string(&mut answer));
        for _ in 0..50 {
            let poll = std::future::poll_fn(|context| std::task::Poll::Ready(reading.as_mut().poll(context).is_ready())).await;
            assert!(!poll, "answered beside the first");
            tokio::task::yield_now().await;
        }
        drop(first);
        reading.await.unwrap();
    }
    assert!(answer.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_panic_in_a_request_takes_nothing_else_down() {
    let rig = Rig::start().await;
    rig.broker.panics.store(true, Ordering::Relaxed);
    assert_eq!(rig.raw(&chat()).await, "", "its own connection ends");
    rig.broker.panics.store(false, Ordering::Relaxed);
    assert_eq!(rig.send(&chat()).await.status, 200);
    assert_eq!(rig.gateway.status().connections, 1);
}
