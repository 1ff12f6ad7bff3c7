//! A code that is typed elsewhere.

use crate::stage::{Stage, policy};
use claviger_simulator::{DevicePoll, LoginHitKind, LoginPolicy};
use serde_json::Value;

const DEVICE: &str = "[login.device]\ndevice_url = \"ORIGIN/device/code\"\nrestarts = true\n";

fn polls(polls: &[DevicePoll]) -> LoginPolicy {
    LoginPolicy { polls: polls.iter().copied().collect(), ..policy("ada") }
}

/// Events as they are documented, without what differs from run to run.
fn stable(stdout: &str, origin: &str) -> String {
    let lines = stdout.lines().map(|line| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        for time in ["ends_at", "poll_after_ms"] {
            if let Some(value) = event.get_mut(time) {
                *value = Value::from("TIME");
            }
        }
        if let Some(account) = event.get_mut("account").and_then(Value::as_object_mut) {
            for time in ["created_at", "expires_at", "logged_in_at"] {
                account.insert(time.to_owned(), Value::from("TIME"));
            }
            // What a person sets is another document's.
            account.remove("options");
        }
        event.to_string().replace(origin, "ORIGIN")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_ends_gives_way_to_a_second_one_and_every_event_is_a_line() {
    let stage = Stage::new(DEVICE).await;
    stage.simulator.control().login_policy_set(polls(&[DevicePoll::Pending, DevicePoll::Expired, DevicePoll::PendingInSuccess]));
    let ran = stage.run(&["login", "acme", "--json"]).ended_with(0).shows_none_of(&stage.secrets());
    insta::assert_snapshot!(stable(&ran.stdout, &stage.simulator.origin()), @r#"
    {"ends_at":"TIME","event":"code","url":"ORIGIN/device","url_complete":"ORIGIN/device?user_code=CODE-0001","user_code":"CODE-0001"}
    {"event":"waiting","poll_after_ms":"TIME"}
    {"ends_at":"TIME","event":"code","url":"ORIGIN/device","url_complete":"ORIGIN/device?user_code=CODE-0002","user_code":"CODE-0002"}
    {"event":"waiting","poll_after_ms":"TIME"}
    {"account":{"blocks":[],"created_at":"TIME","expires_at":"TIME","grant":1,"grant_revision":1,"id":1,"identity":{"account_id":"id-ada","email":"ada@example.com","org_name":"Org"},"kind":"oauth","label":null,"logged_in_at":"TIME","priority":0,"provider":"acme","source":"login","standing":{"state":"active"}},"event":"stored","outcome":"created"}
    "#);
    assert_eq!(ran.stderr, "");
    let hits = stage.simulator.ledger().login_hits();
    let count = |kind| hits.iter().filter(|hit| hit.kind == kind).count();
    assert_eq!((count(LoginHitKind::DeviceCode), count(LoginHitKind::Poll)), (2, 4));
    let first: Vec<_> = hits.iter().filter(|hit| hit.kind == LoginHitKind::Poll).map(|hit| hit.at_ms).collect();
    assert!(first.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "never more often than the provider asks: {first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_the_whole_address_and_the_code() {
    let stage = Stage::new(DEVICE).await;
    let ran = stage.run(&["login", "acme"]).ended_with(0);
    assert_eq!(ran.stdout, "added account 1: acme, ada@example.com (Org)\n");
    let seen = ran.stderr.replace(&stage.simulator.origin(), "ORIGIN");
    insta::assert_snapshot!(seen, @r"
    open ORIGIN/device
    and type the code

      CODE-0001

    or open ORIGIN/device?user_code=CODE-0001

    waiting for the login (Ctrl-C gives it up)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_the_login_with_exit_code_1() {
    let stage = Stage::new(DEVICE).await;
    stage.simulator.control().login_policy_set(polls(&[DevicePoll::Denied]));
    let ran = stage.run(&["login", "acme", "--json"]).ended_with(1).shows_none_of(&["canary-description".to_owned()]);
    assert_eq!(ran.last_event()["event"], "error");
    assert_eq!(ran.last_event()["error"]["message"], "acme refused the login: access_denied");
    assert!(stage.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_ends_is_the_end_where_the_provider_gives_no_second_one() {
    let stage = Stage::new("[login.device]\ndevice_url = \"ORIGIN/device/code\"\n").await;
    stage.simulator.control().login_policy_set(polls(&[DevicePoll::Expired]));
    let ran = stage.run(&["login", "acme", "--json"]).ended_with(1);
    assert_eq!(ran.last_event()["error"]["message"], "the code has ended, and nobody had typed it in");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_desktop_a_code_comes_before_a_browser_and_a_word_decides() {
    let stage = Stage::new(&format!("[login.loopback]\n{DEVICE}")).await;
    let ran = stage.run(&["login", "acme", "--json"]).ended_with(0);
    assert!(ran.stdout.starts_with("{\"event\":\"code\""), "{}", ran.stdout);
    let desktop = [("DISPLAY", ":0"), ("BROWSER", "/bin/true")];
    let mut running = stage.start(&["login", "acme", "--json"], &desktop);
    running.event_named("open_url");
    running.interrupt();
    running.wait().ended_with(1);
    let mut running = stage.start(&["login", "acme", "--json", "--device"], &desktop);
    running.event_named("code");
    running.wait().ended_with(0);
    stage.define("browser-only", "[login.loopback]\n");
    let ran = stage.run(&["login", "browser-only", "--json", "--device"]).ended_with(5);
    assert_eq!(ran.last_event()["error"]["message"], "browser-only has no login by a code that is typed on another device");
}
