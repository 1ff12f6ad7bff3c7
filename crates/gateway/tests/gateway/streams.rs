//! Streams: nothing is held back, a break is a break, and who leaves closes what is open upstream.

use crate::client::Request;
use crate::rig::{Rig, chat, chat_stream};
use claviger_simulator::{ExchangeEnd, LlmFault};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn the_first_event_arrives_while_the_provider_holds_the_rest() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::StallMidStream { after_events: 2 });
    let mut open = rig.open(&chat_stream()).await;
    assert_eq!(open.status, 200);
    assert_eq!(open.headers["content-type"], "text/event-stream; charset=utf-8");
    let first = open.next().await.unwrap().unwrap();
    assert!(first.starts_with("data: "), "{first}");
    assert_eq!(rig.gateway.status().in_flight, 1);
    assert_eq!(rig.broker.log.lines(), ["attempt 1.1 Accepted"], "reported at the head, not at the end");
}

#[tokio::test]
async fn a_whole_stream_comes_through_byte_for_byte_and_is_settled_at_its_end() {
    let rig = Rig::start().await;
    let through = rig.send(&chat_stream()).await;
    assert!(through.text().ends_with("data: [DONE]\n\n"));
    rig.broker.log.wait_for("record openai 200 account 1 attempts 1").await;
    assert_eq!(rig.gateway.status().in_flight, 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_closes_the_stream_upstream() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::StallMidStream { after_events: 2 });
    let mut open = rig.open(&chat_stream()).await;
    open.next().await.unwrap().unwrap();
    open.hang_up().await;
    rig.ledger().wait_for(|ledger| ledger.requests()[0].is_aborted()).await;
    rig.broker.log.wait_for("record openai 200 account 1 attempts 1").await;
    assert_eq!(rig.gateway.status().in_flight, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_closes_the_request_upstream() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::HoldUntilReleased);
    let mut stream = tokio::net::TcpStream::connect(rig.addr).await.unwrap();
    stream.write_all(&chat().bytes(rig.addr)).await.unwrap();
    rig.ledger().wait_for(|ledger| ledger.held() == 1).await;
    drop(stream);
    rig.ledger().wait_for(|ledger| ledger.requests()[0].is_aborted()).await;
    rig.broker.log.wait_for("record absent").await;
    assert_eq!(rig.broker.log.lines()[0], "attempt 1.1 Abandoned");
}

#[tokio::test]
async fn a_cut_in_the_middle_reaches_the_client_as_a_cut() {
    for request in [chat_stream(), chat()] {
        let rig = Rig::start().await;
        rig.simulator.control().llm_fault_next(LlmFault::DropMidStream { after_events: 2 });
        let mut open = rig.open(&request).await;
        assert_eq!(open.status, 200);
        let end = loop {
            match open.next().await {
                Some(Ok(_event)) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(_))), "a clean end would pass a part for the whole");
        assert_eq!(rig.ledger().requests()[0].end, ExchangeEnd::Cut);
        assert_eq!(rig.ledger().requests_count(), 1, "nothing is repeated after the first byte");
    }
}

#[tokio::test]
async fn an_error_event_inside_a_stream_is_left_for_the_client_to_read() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::ErrorMidStream { after_events: 2 });
    let stream = rig.send(&chat_stream()).await;
    assert_eq!(stream.status, 200);
    assert!(stream.text().contains("error"));
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_given_up_after_a_long_while() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::StallMidStream { after_events: 2 });
    let mut open = rig.open(&chat_stream()).await;
    open.next().await.unwrap().unwrap();
    let limit = claviger_gateway::limits::ANSWER_IDLE_TIMEOUT;
    rig.clock.slept(limit).await;
    let silence = async {
        // The limit counts from the last event only after one whole round of it.
        for _ in 0..4 {
            rig.clock.advance(limit);
            tokio::task::yield_now().await;
        }
    };
    let (end, ()) = tokio::join!(
        async {
            loop {
                match open.next().await {
                    Some(Ok(_event)) => {}
                    end => break end,
                }
            }
        },
        silence
    );
    assert!(matches!(end, Some(Err(_))));
    rig.ledger().wait_for(|ledger| ledger.requests()[0].is_aborted()).await;
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up_after_a_while() {
    let rig = Rig::start().await;
    let body = "x".repeat(50_000_000);
    rig.simulator.control().llm_fault_next(LlmFault::Status { status: 200, headers: Vec::new(), body });
    let mut stream = tokio::net::TcpStream::connect(rig.addr).await.unwrap();
    stream.write_all(&chat().bytes(rig.addr)).await.unwrap();
    let limit = claviger_gateway::limits::CLIENT_STALL_TIMEOUT;
    rig.clock.slept(limit).await;
    let settled = rig.broker.log.wait_for("record openai 200");
    let mut settled = std::pin::pin!(settled);
    while !std::future::poll_fn(|context| std::task::Poll::Ready(settled.as_mut().poll(context).is_ready())).await {
        rig.clock.advance(limit);
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.gateway.status().in_flight, 0);
}

#[tokio::test]
async fn a_large_error_is_read_as_evidence_only_in_part_and_handed_on_whole() {
    let rig = Rig::start().await;
    let body = "x".repeat(1_000_000);
    rig.simulator.control().llm_fault_next(LlmFault::Status { status: 400, headers: Vec::new(), body: body.clone() });
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text() == body);
    assert_eq!(answer.header("content-length"), Some("1000000"));
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let rig = Rig::start().await;
    let mut stream = tokio::net::TcpStream::connect(rig.addr).await.unwrap();
    let last = chat().header("Connection", "close").bytes(rig.addr);
    let both = [chat().bytes(rig.addr), Request::new("GET", "/livez").bytes(rig.addr), last].concat();
    stream.write_all(&both).await.unwrap();
    let mut answers = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answers).await.unwrap();
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answers}");
    assert_eq!(rig.gateway.status().total, 2);
}

#[tokio::test]
async fn a_stop_lets_an_open_answer_end() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::HoldUntilReleased);
    let request = chat();
    let (answer, end) = tokio::join!(rig.send(&request), async {
        rig.ledger().wait_for(|ledger| ledger.held() == 1).await;
        let (end, ()) = tokio::join!(rig.supervisor.stop(Duration::from_mins(1)), async {
            tokio::task::yield_now().await;
            rig.simulator.control().release();
        });
        end
    });
    assert_eq!(answer.status, 200);
    assert_eq!(end, claviger_runtime::TaskEnd::Drained);
    assert!(tokio::net::TcpStream::connect(rig.addr).await.is_err(), "nobody listens any more");
}
