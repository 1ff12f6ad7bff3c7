//! Keys: typed, tried at the provider, and minted by a login.

use crate::browser::{agree, get};
use crate::pty::Terminal;
use crate::stage::Stage;
use claviger_simulator::{LoginHitKind, LoginPolicy};
use serde_json::json;

const KEY: &str = "[login.key]\npage = \"https://acme.example/keys\"\nprobe_url = \"ORIGIN/v1/models\"\n";

fn log_in(stage: &Stage, key: &str) -> crate::stage::Ran {
    let mut running = stage.start(&["login", "acme", "--with-key", "--json"], &[]);
    running.types(key);
    running.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tried_at_the_provider_and_a_refused_one_is_not_stored() {
    let stage = Stage::new(KEY).await;
    let ran = log_in(&stage, "canary-bad").ended_with(5).shows_none_of(&["canary-bad".to_owned()]);
    let error = ran.last_event()["error"].clone();
    assert_eq!(error["message"], "acme refuses this key (status 401): it was not stored");
    assert_eq!(error["hint"], "keys are made at https://acme.example/keys");
    assert!(stage.accounts().is_empty());

    stage.simulator.control().api_key_add("canary-good", "ada@example.com");
    let ran = log_in(&stage, "canary-good").ended_with(0).shows_none_of(&["canary-good".to_owned()]);
    assert_eq!((&ran.last_event()["outcome"], ran.last_event().get("warnings")), (&json!("created"), None));
    let asked = stage.simulator.ledger().requests();
    assert_eq!(asked.last().unwrap().credential().unwrap().text, "canary-good", "it is sent as any request sends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_asked_says_nothing_of_a_key() {
    let stage = Stage::new("[login.key]\nprobe_url = \"http://127.0.0.1:1/v1/models\"\n").await;
    let ran = log_in(&stage, "canary-key").ended_with(0).shows_none_of(&["canary-key".to_owned()]);
    let warnings = ran.last_event()["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().starts_with("the key is stored untried: 127.0.0.1 did not answer"), "{warnings}");
    assert_eq!(stage.accounts()[0]["kind"], "api_key");
    stage.define("unknown", "[login.key]\n");
    let mut running = stage.start(&["login", "unknown", "--with-key"], &[]);
    running.types("canary-key");
    let ran = running.end().ended_with(0);
    assert!(ran.stderr.starts_with("note: the key was not tried"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_typed_unseen_and_the_terminal_shows_again_what_is_typed() {
    let stage = Stage::new(KEY).await;
    stage.simulator.control().api_key_add("canary-good", "ada@example.com");
    let mut terminal = Terminal::start(&stage, &["login", "acme", "--with-key"], &[]);
    terminal.sees("key of Acme, which is not shown:");
    while terminal.echoes() {
        std::thread::yield_now();
    }
    terminal.types("canary-good\n");
    let (code, screen, echoes) = terminal.end();
    assert_eq!((code, echoes), (0, true), "{screen}");
    assert!(!screen.contains("canary-good") && screen.contains("keys are made at https://acme.example/keys"), "{screen}");
    assert!(screen.contains("added account 1: acme"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_hidden_prompt_leaves_the_terminal_as_it_was() {
    let stage = Stage::new(KEY).await;
    let mut terminal = Terminal::start(&stage, &["login", "acme", "--with-key"], &[]);
    terminal.sees("which is not shown:");
    while terminal.echoes() {
        std::thread::yield_now();
    }
    terminal.types("canary-ha\u{3}");
    let (code, screen, echoes) = terminal.end();
    assert_eq!((code, echoes), (1, true), "{screen}");
    assert!(screen.contains("the login was given up: nothing was stored") && !screen.contains("canary-ha"), "{screen}");
    assert!(stage.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_mints_a_key_stores_it_as_one() {
    let stage = Stage::new("").await;
    // No client, no state, parameters of its own: as some providers hand out keys.
    let origin = stage.simulator.origin();
    let overlay = format!(
        "[providers.minted]\nname = \"Minted\"\ndialects = [\"chat\"]\nbase_url = \"{origin}/v1\"\n\
         [providers.minted.wire.api_key]\nheader = \"authorization\"\nscheme = \"Bearer\"\n\
         [providers.minted.login.loopback]\nauthorize_url = \"{origin}/authorize\"\ntoken_url = \"{origin}/auth/keys\"\n\
         token_encoding = \"json\"\nstate_returned = false\nparams_replace = true\n\
         authorize_params = {{ callback_url = \"{{redirect_uri}}\", code_challenge = \"{{code_challenge}}\" }}\n\
         token_params = {{ code = \"{{code}}\", code_verifier = \"{{code_verifier}}\" }}\n\
         [providers.minted.login.answer]\naccess = [\"key\"]\nis_key = true\n"
    );
    stage.write("settings/providers.d/minted.toml", &overlay);
    stage.simulator.control().login_policy_set(LoginPolicy { echo_state: false, ..LoginPolicy::default() });
    let mut running = stage.start(&["login", "minted", "--json", "--no-browser"], &[]);
    let event = running.event_named("open_url");
    assert!(!event["url"].as_str().unwrap().contains("state="), "{event}");
    assert_eq!(get(&agree(event["url"].as_str().unwrap())).status, 200);
    let ran = running.end().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["account"]["kind"], "api_key");
    let exchange = stage.simulator.ledger().login_hits().into_iter().find(|hit| hit.kind == LoginHitKind::Exchange).unwrap();
    assert_eq!(exchange.params.len(), 2, "the rule's parameters alone: {:?}", exchange.params);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_other_way_a_key_is_asked_for_unasked() {
    let stage = Stage::new("").await;
    let origin = stage.simulator.origin();
    let overlay = format!(
        "[providers.keyed]\nname = \"Keyed\"\ndialects = [\"chat\"]\nbase_url = \"{origin}/v1\"\n\
         [providers.keyed.wire.api_key]\nheader = \"authorization\"\nscheme = \"Bearer\"\n\
         [providers.keyed.login.key]\nprobe_url = \"{origin}/v1/models\"\n"
    );
    stage.write("settings/providers.d/keyed.toml", &overlay);
    stage.simulator.control().api_key_add("canary-good", "ada@example.com");
    let mut running = stage.start(&["login", "keyed"], &[("DISPLAY", ":0")]);
    running.types("canary-good");
    assert_eq!(running.end().ended_with(0).stdout, "added account 1: keyed\n");
}
