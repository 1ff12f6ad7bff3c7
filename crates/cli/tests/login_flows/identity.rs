//! Who has logged in, and whether that is who was meant.

use crate::browser::{agree, get};
use crate::pty::Terminal;
use crate::stage::{Ran, Stage, policy};
use claviger_simulator::LoginPolicy;
use serde_json::{Value, json};

const LOOPBACK: &str = "[login.loopback]\n";

fn log_in(stage: &Stage, who: &str, arguments: &[&str]) -> Ran {
    stage.simulator.control().login_policy_set(policy(who));
    let mut running = stage.start(&[&["login", "acme", "--json"], arguments].concat(), &[]);
    let event = running.event_named("open_url");
    get(&agree(event["url"].as_str().unwrap()));
    running.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_takes_no_accounts_place_unless_somebody_agrees() {
    let stage = Stage::new(LOOPBACK).await;
    log_in(&stage, "ada", &["--label", "mine"]).ended_with(0);
    let ran = log_in(&stage, "bob", &["--account", "1"]).ended_with(5).shows_none_of(&stage.secrets());
    let error = ran.last_event()["error"].clone();
    assert_eq!(error["message"], "the account is ada@example.com (Org), and bob@example.com (Org) has logged in: nothing was stored");
    let accounts = stage.accounts();
    assert_eq!(
        (accounts.len(), &accounts[0]["identity"]["email"], &accounts[0]["grant_revision"]),
        (1, &json!("ada@example.com"), &json!(1))
    );

    let ran = log_in(&stage, "bob", &["--account", "1", "--yes"]).ended_with(0);
    assert_eq!(ran.last_event()["outcome"], "updated");
    let accounts = stage.accounts();
    assert_eq!(accounts.len(), 1);
    assert_eq!((&accounts[0]["identity"]["email"], &accounts[0]["label"]), (&json!("bob@example.com"), &json!("mine")));
    assert_eq!(accounts[0]["identity"]["account_id"], "id-bob", "nothing of the old identity is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_identity_renews_its_account_in_place_and_another_one_is_stored_beside() {
    let stage = Stage::new(LOOPBACK).await;
    log_in(&stage, "ada", &[]).ended_with(0);
    log_in(&stage, "bob", &[]).ended_with(0);
    for arguments in [&["--account", "1"][..], &[]] {
        assert_eq!(log_in(&stage, "ada", arguments).ended_with(0).last_event()["outcome"], "updated");
    }
    let accounts = stage.accounts();
    let emails: Vec<&Value> = accounts.iter().map(|account| &account["identity"]["email"]).collect();
    assert_eq!(emails, [&json!("ada@example.com"), &json!("bob@example.com")]);
    assert_eq!(accounts[0]["grant_revision"], 3);
    let ran = log_in(&stage, "bob", &["--account", "1", "--yes"]).ended_with(5);
    assert_eq!(ran.last_event()["error"]["hint"], "claviger login acme --account 2", "two accounts are never one identity");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_names_nobody_takes_no_known_ones_place_unasked() {
    let stage = Stage::new(LOOPBACK).await;
    log_in(&stage, "ada", &[]).ended_with(0);
    stage.simulator.control().login_policy_set(LoginPolicy { members: Value::Null, ..policy("ada") });
    let mut running = stage.start(&["login", "acme", "--json", "--account", "1"], &[]);
    let event = running.event_named("open_url");
    get(&agree(event["url"].as_str().unwrap()));
    running.event_named("other_identity");
    running.end().ended_with(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_person_is_asked_and_yes_is_taken() {
    let stage = Stage::new(LOOPBACK).await;
    log_in(&stage, "ada", &[]).ended_with(0);
    stage.simulator.control().login_policy_set(policy("bob"));
    for (word, code) in [("n", 5), ("y", 0)] {
        let mut terminal = Terminal::start(&stage, &["login", "acme", "--account", "1"], &[("BROWSER", "/bin/true")]);
        let screen = terminal.sees("waiting for the browser").to_owned();
        let page = screen.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        let shown = get(&agree(&page));
        assert!(shown.body.contains("asks a question"), "{}", shown.body);
        terminal.sees("shall bob@example.com (Org) take the place of ada@example.com (Org)? [y/N]");
        terminal.types(&format!("{word}\n"));
        let (ended, screen, _) = terminal.end();
        assert_eq!(ended, code, "{screen}");
    }
    assert_eq!(stage.accounts()[0]["identity"]["email"], "bob@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_the_need_for_one_and_its_token_serves_at_once() {
    let stage = Stage::new(LOOPBACK).await;
    stage.write("settings/config.toml", "[export]\nallow = true\n");
    let old = r#"{"type":"oauth","access":"at-old","refresh":"rt-old","expires":1000,"email":"ada@example.com","accountId":"id-ada"}"#;
    let file = stage.write("old.json", old);
    stage.run(&["account", "add", "acme", "--from-json", file.to_str().unwrap()]).ended_with(0);
    assert_ne!(stage.run(&["token", "acme"]).code, 0, "the grant is dead");
    assert_eq!(stage.accounts()[0]["standing"]["state"], "needs_login");
    log_in(&stage, "ada", &["--account", "1"]).ended_with(0);
    assert_eq!(stage.accounts()[0]["standing"]["state"], "active");
    let token = stage.run(&["token", "acme"]).ended_with(0).stdout;
    let handed: Vec<String> = stage.simulator.ledger().login_hits().into_iter().map(|hit| hit.answered).collect();
    assert_eq!(Some(token.trim()), handed.last().map(String::as_str), "the new token, and no refresh came between");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_provider_is_not_renewed() {
    let stage = Stage::new(LOOPBACK).await;
    log_in(&stage, "ada", &[]).ended_with(0);
    stage.define("other", LOOPBACK);
    let ran = stage.run(&["login", "other", "--account", "1", "--json"]).ended_with(2);
    assert_eq!(ran.last_event()["error"]["hint"], "claviger login acme --account 1");
    stage.run(&["login", "acme", "--account", "9", "--json"]).ended_with(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_before_a_key_that_stays_and_other_logins_stay_too() {
    let stage = Stage::new("[login.loopback]\n[login.key]\nprobe_url = \"ORIGIN/v1/models\"\n").await;
    stage.write("settings/config.toml", "[export]\nallow = true\n");
    stage.simulator.control().api_key_add("canary-key", "ada@example.com");
    let mut running = stage.start(&["login", "acme", "--with-key"], &[]);
    running.types("canary-key");
    running.end().ended_with(0);
    assert_eq!(stage.run(&["token", "acme"]).ended_with(0).stdout.trim(), "canary-key");
    log_in(&stage, "bob", &[]).ended_with(0);
    log_in(&stage, "ada", &[]).ended_with(0);
    let kinds: Vec<Value> = stage.accounts().iter().map(|account| account["kind"].clone()).collect();
    assert_eq!(kinds, ["api_key", "oauth", "oauth"]);
    let token = stage.run(&["token", "acme"]).ended_with(0).stdout;
    assert!(token.starts_with("sim-at-"), "a login serves before a key: {token}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_may_be_stored_under_another_providers_name() {
    let stage = Stage::new(LOOPBACK).await;
    stage.define("acme-login", "[login]\nstores_as = \"acme\"\n[login.loopback]\n");
    let mut running = stage.start(&["login", "acme-login", "--json"], &[]);
    let event = running.event_named("open_url");
    get(&agree(event["url"].as_str().unwrap()));
    let ran = running.end().ended_with(0);
    assert_eq!(ran.last_event()["account"]["provider"], "acme");
}
