//! The browser comes back to a port of this machine.

use crate::browser::{agree, get, request};
use crate::stage::{Stage, policy};
use claviger_simulator::{Consent, Issuer, LoginHitKind, LoginPolicy, TokenFault};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

const LOOPBACK: &str = "[login.loopback]\n";

/// A browser that writes down where it is sent.
fn browser(stage: &Stage) -> (String, std::path::PathBuf) {
    let pipe = stage.path("opened");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = stage.write("browser", &format!("#!/bin/sh\nprintf '%s\\n' \"$1\" > '{}'\n", pipe.display()));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    (script.to_str().unwrap().to_owned(), pipe)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_a_file_alone_defines_is_logged_in_to_by_the_browser() {
    let stage = Stage::new(LOOPBACK).await;
    stage.simulator.control().login_policy_set(LoginPolicy { issuer: Issuer::Own, ..policy("ada") });
    let (script, pipe) = browser(&stage);
    let running = stage.start(&["login", "acme", "--label", "mine"], &[("BROWSER", &script)]);
    let mut opened = String::new();
    BufReader::new(std::fs::File::open(pipe).unwrap()).read_line(&mut opened).unwrap();
    let back = agree(opened.trim());
    assert!(back.starts_with("http://127.0.0.1:"), "an IP literal, as RFC 8252 asks: {back}");
    let page = get(&back);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("You are logged in"), "{}", page.body);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), (Some("no-store"), Some("no-referrer")));
    let ran = running.wait().ended_with(0);
    assert_eq!(ran.stdout, "added account 1: acme, ada@example.com (Org)\n");
    assert!(ran.stderr.contains(opened.trim()), "the address is said too: {}", ran.stderr);
    for secret in stage.secrets() {
        assert!(!page.body.contains(&secret), "{secret} is on the page");
    }
    ran.shows_none_of(&stage.secrets());

    let hits = stage.simulator.ledger().login_hits();
    let [page, exchange] = hits.as_slice() else { panic!("{hits:?}") };
    assert_eq!((page.kind, exchange.kind), (LoginHitKind::Authorize, LoginHitKind::Exchange));
    let asked: Vec<_> = ["response_type", "client_id", "scope", "code_challenge_method"].map(|name| page.param(name).unwrap()).into();
    assert_eq!(asked, ["code", "client-1", "one two", "S256"]);
    assert!(page.param("state").unwrap().len() >= 43, "256 bits of state");
    assert!(exchange.param("code_verifier").unwrap().len() >= 43);
    assert_eq!((exchange.status, exchange.param("grant_type")), (200, Some("authorization_code")));
    let account = &stage.accounts()[0];
    let identity = json!({"email": "ada@example.com", "account_id": "id-ada", "org_name": "Org"});
    assert_eq!((&account["identity"], &account["label"], &account["source"]), (&identity, &json!("mine"), &json!("login")));
    assert_eq!(account["standing"], json!({"state": "active"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_login_is_not_taken_and_the_right_one_still_counts() {
    let stage = Stage::new(LOOPBACK).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    let callback = event["redirect"].as_str().unwrap().to_owned();
    for forged in ["code=evil&state=evil", "code=evil", "error=access_denied", "code=evil&state="] {
        let page = get(&format!("{callback}?{forged}"));
        assert_eq!((page.status, page.body.contains("Not taken")), (400, true), "{forged}");
        running.event_named("not_taken");
    }
    assert_eq!(stage.exchanges(), 0, "no forged code was exchanged");
    let page = get(&agree(event["url"].as_str().unwrap()));
    assert_eq!(page.status, 200);
    let ran = running.end().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["event"], "stored");
    assert_eq!(stage.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_another_issuer_ends_the_login_unexchanged() {
    let stage = Stage::new(LOOPBACK).await;
    stage.simulator.control().login_policy_set(LoginPolicy { issuer: Issuer::Other("https://evil.example".into()), ..policy("ada") });
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    let page = get(&agree(event["url"].as_str().unwrap()));
    assert!(page.body.contains("did not succeed"), "{}", page.body);
    let ran = running.end().ended_with(5).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["error"]["code"], "refused");
    assert_eq!((stage.exchanges(), stage.accounts().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hit_another_path_another_name_and_the_favicon_are_turned_away() {
    let stage = Stage::new(LOOPBACK).await;
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    let callback = event["redirect"].as_str().unwrap().to_owned();
    let host = callback.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let port = host.rsplit(':').next().unwrap();
    for path in ["/favicon.ico", "/", "/other?code=x&state=y", "/callback"] {
        assert_eq!(get(&format!("http://{host}{path}")).status, 404, "{path}");
    }
    let foreign = request(&host, &format!("GET /callback?code=x&state=y HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n"));
    assert_eq!(foreign.status, 421, "a name that was rebound to this machine");
    let posted = request(&host, &format!("POST /callback?code=x&state=y HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(posted.status, 405);

    let back = agree(event["url"].as_str().unwrap());
    let first = tokio::task::spawn_blocking({
        let back = back.clone();
        move || get(&back)
    });
    stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
    // It is looked at once the first one is decided.
    let second = tokio::task::spawn_blocking(move || get(&back));
    stage.simulator.control().release();
    assert_eq!(first.await.unwrap().status, 200);
    let second = second.await.unwrap();
    assert_eq!((second.status, second.body.contains("This login is over")), (410, true));
    running.end().ended_with(0);
    assert_eq!(stage.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_state_comes_back_a_forged_code_is_refused_by_the_provider_and_ends_nothing() {
    let stage = Stage::new("[login.loopback]\nstate_returned = false\n").await;
    stage.simulator.control().login_policy_set(LoginPolicy { echo_state: false, ..policy("ada") });
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    let callback = event["redirect"].as_str().unwrap().to_owned();
    // A code of somebody else's login, without a challenge: who took it would work in the account of whoever sent it.
    let theirs = agree(&format!("{}/authorize?client_id=client-1&redirect_uri={callback}", stage.simulator.origin()));
    for forged in [theirs, format!("{callback}?code=made-up")] {
        assert_eq!(get(&forged).status, 400, "{forged}");
        running.event_named("not_taken");
    }
    assert_eq!(get(&agree(event["url"].as_str().unwrap())).status, 200);
    running.end().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(stage.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_by_its_code_and_never_by_the_providers_words() {
    let stage = Stage::new(LOOPBACK).await;
    stage.simulator.control().login_policy_set(LoginPolicy { consent: Consent::Refused("access_denied".into()), ..policy("ada") });
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    get(&agree(event["url"].as_str().unwrap()));
    let ran = running.end().ended_with(1).shows_none_of(&["canary-description".to_owned()]);
    let error = ran.last_event()["error"].clone();
    assert_eq!(error["message"], "acme refused the login: access_denied");
    assert_eq!(error["hint"], "claviger login acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_gives_a_login_up_and_frees_its_port() {
    let stage = Stage::new(LOOPBACK).await;
    stage.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"]).ended_with(0);
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    let host = event["redirect"].as_str().unwrap().strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    running.interrupt();
    let ran = running.wait().ended_with(1);
    assert_eq!(ran.last_event()["error"]["message"], "the login was given up: nothing was stored");
    drop(std::net::TcpListener::bind(&host).unwrap());
    assert_eq!((stage.exchanges(), stage.accounts().len()), (0, 0));
    let log = std::fs::read_to_string(stage.path("home/claviger.log")).unwrap();
    let state = event["url"].as_str().unwrap().split("state=").nth(1).unwrap().split('&').next().unwrap();
    assert!(!log.contains(state), "the log names no state");
    stage.run(&["down"]).ended_with(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_through_a_running_server_and_leaves_no_secret_in_its_log() {
    let stage = Stage::new(LOOPBACK).await;
    stage.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"]).ended_with(0);
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    get(&agree(event["url"].as_str().unwrap()));
    running.end().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(stage.accounts().len(), 1);
    stage.run(&["down"]).ended_with(0);
    let log = std::fs::read_to_string(stage.path("home/claviger.log")).unwrap();
    for secret in stage.secrets() {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}
