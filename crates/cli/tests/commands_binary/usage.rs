//! `claviger usage`

use crate::sandbox::Sandbox;
use serde_json::json;

#[test]
fn without_an_account_there_is_nothing_to_show_and_a_hint() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run(&["usage"]).succeeded();
    assert!(ran.stdout.trim().is_empty() && ran.stderr.contains("claviger login"), "{}", ran.stderr);
    assert_eq!(sandbox.run(&["usage", "--json"]).succeeded().json(), json!({"accounts": []}));
    assert!(!sandbox.path("home/log.db").exists(), "who only looks writes nothing");
}

#[test]
fn what_cannot_be_shown_is_refused_with_what_to_type() {
    let sandbox = Sandbox::initialised();
    sandbox.run(&["usage", "--csv", "--json"]).ended_with(2);
    sandbox.run(&["usage", "--history", "soon"]).ended_with(2);
    let too_far = sandbox.run(&["usage", "--history", "400d"]).ended_with(2);
    assert!(too_far.stderr.contains("--history 90d"), "{}", too_far.stderr);
    assert_eq!(sandbox.run(&["usage", "--account", "7"]).code, 4);
    assert_eq!(sandbox.run(&["usage", "nobody"]).code, 4);
}

#[test]
fn a_log_that_is_broken_or_cannot_be_written_leaves_the_command_as_it_is() {
    let sandbox = Sandbox::initialised();
    sandbox.run_in(&["login", "openai", "--with-key"], "sk-test-1", &[]);
    sandbox.write("home/log.db", &"no database at all ".repeat(100));
    assert!(sandbox.run(&["usage", "--history", "7d"]).succeeded().stdout.contains("openai"));
}
