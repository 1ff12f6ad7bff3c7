//! A port that somebody else has.

use crate::browser::{agree, get};
use crate::stage::Stage;
use std::net::TcpListener;

fn ways(port: u16, kind: &str, pkce: bool) -> String {
    format!("[login.loopback]\nredirect = \"http://localhost:{port}/cb\"\nport = \"{kind}\"\npkce = {pkce}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_fixed_port_is_said_and_a_paste_logs_in() {
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port();
    let stage = Stage::new(&ways(port, "fixed", true)).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let warning = running.event_named("warning")["message"].as_str().unwrap().to_owned();
    assert!(warning.contains(&format!("port {port}")), "{warning}");
    if cfg!(target_os = "linux") {
        assert!(warning.contains(&format!("pid {}", std::process::id())), "{warning}");
    }
    let event = running.event_named("open_url");
    assert_eq!(event["expects"], "paste");
    let back = agree(event["url"].as_str().unwrap());
    assert!(back.starts_with(&format!("http://localhost:{port}/cb?")), "the address that the provider has registered: {back}");
    running.types(&back);
    let ran = running.wait().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["event"], "stored");
    drop(squatter);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_loopback_address_taken_is_the_port_taken() {
    // Where the machine has no IPv6 there is no other address.
    let Ok(squatter) = TcpListener::bind("[::1]:0") else { return };
    let port = squatter.local_addr().unwrap().port();
    let stage = Stage::new(&ways(port, "fixed", true)).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    running.event_named("warning");
    assert_eq!(running.event_named("open_url")["expects"], "paste");
    let ran = running.end().ended_with(1);
    assert_eq!(ran.last_event()["event"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pkce_nobody_is_sent_to_a_port_that_another_holds() {
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port();
    let stage = Stage::new(&ways(port, "fixed", false)).await;
    let ran = stage.run(&["login", "acme", "--json"]).ended_with(1);
    assert!(ran.last_event()["error"]["message"].as_str().unwrap().contains(&format!("port {port} alone")));
    assert!(stage.simulator.ledger().login_hits().is_empty());
    drop(squatter);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preferred_port_that_is_taken_gives_way_to_another() {
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port();
    let stage = Stage::new(&ways(port, "preferred", true)).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    let redirect = event["redirect"].as_str().unwrap();
    assert!(redirect.starts_with("http://localhost:") && !redirect.contains(&format!(":{port}/")), "{redirect}");
    assert_eq!(get(&agree(event["url"].as_str().unwrap())).status, 200);
    running.end().ended_with(0);
    drop(squatter);
}
