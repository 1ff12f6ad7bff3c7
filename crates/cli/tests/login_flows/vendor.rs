//! Flows of vendors' own, through the binary.

use crate::browser::get;
use crate::stage::Stage;
use claviger_simulator::{DevicePoll, LoginHitKind, LoginPolicy};

const CODEX: &str = "[login.vendor]\nhook = \"codex-device\"\nsummary = \"type a code\"\n[providers.acme.hook_urls]\n\
                     codex-device = \"ORIGIN/api/accounts/deviceauth\"\ncodex-device-page = \"ORIGIN/codex/device\"\n";
const CURSOR: &str = "[login.vendor]\nhook = \"cursor-poll\"\nsummary = \"open a page\"\n[providers.acme.hook_urls]\n\
                      cursor-page = \"ORIGIN/loginDeepControl\"\ncursor-poll = \"ORIGIN/auth/poll\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_codex_is_typed_on_its_page_and_exchanged_with_the_verifier_that_comes_with_it() {
    let stage = Stage::new(CODEX).await;
    let polls = [DevicePoll::Pending].into_iter().collect();
    stage.simulator.control().login_policy_set(LoginPolicy { polls, interval_s: 0, ..LoginPolicy::default() });
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("code");
    assert_eq!(event["url"], format!("{}/codex/device", stage.simulator.origin()));
    assert_eq!(event["user_code"], "CODE-0001");
    running.event_named("waiting");
    let ran = running.wait().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["outcome"], "created");
    let hits = stage.simulator.ledger().login_hits();
    let kinds: Vec<_> = hits.iter().map(|hit| hit.kind).collect();
    assert_eq!(kinds, [LoginHitKind::DeviceCode, LoginHitKind::Poll, LoginHitKind::Poll, LoginHitKind::Exchange]);
    assert_eq!(hits[3].param("redirect_uri"), Some("https://auth.openai.com/deviceauth/callback"));
    assert_eq!(hits[3].status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_cursor_is_opened_and_the_poll_alone_brings_the_verifier() {
    let stage = Stage::new(CURSOR).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("code");
    assert!(event.get("user_code").is_none(), "{event}");
    let page = event["url"].as_str().unwrap().to_owned();
    assert_eq!(get(&page).status, 200);
    let ran = running.wait().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["account"]["kind"], "oauth");
    let hits = stage.simulator.ledger().login_hits();
    let verifier = hits.iter().find_map(|hit| hit.param("verifier")).unwrap();
    assert!(!page.contains(verifier) && !ran.stdout.contains(verifier) && !ran.stderr.contains(verifier));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_gives_a_vendors_own_flow_up() {
    let stage = Stage::new(CURSOR).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    running.event_named("code");
    running.event_named("waiting");
    running.interrupt();
    let ran = running.wait().ended_with(1);
    assert_eq!(ran.last_event()["event"], "error");
    assert!(stage.accounts().is_empty());
}
