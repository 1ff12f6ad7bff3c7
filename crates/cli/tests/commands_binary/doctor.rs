//! `claviger doctor`

use crate::sandbox::Sandbox;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

/// An address that is free, so that a server of the user does not matter.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn verdict<'a>(findings: &'a Value, check: &str) -> Vec<&'a str> {
    let all = findings.as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    all.map(|finding| finding["verdict"].as_str().unwrap()).collect()
}

#[test]
fn a_fresh_home_is_healthy() {
    let sandbox = Sandbox::initialised();
    sandbox.run_in(&["login", "openai", "--with-key"], "canary-key", &[]).succeeded();
    let listen = free_address();
    let ran = sandbox.run_in(&["doctor", "--json"], "", &[("CLAVIGER_LISTEN", &listen)]).succeeded().shows_none_of(&["canary-key"]);
    let findings = ran.json();
    let bad: Vec<_> = findings.as_array().unwrap().iter().filter(|finding| finding["verdict"] != "ok").collect();
    assert!(bad.is_empty(), "{bad:?}");
    for check in ["home", "key file", "configuration", "catalogue", "server", "gateway", "vault", "rows", "accounts", "spill", "clock"] {
        assert_eq!(verdict(&findings, check), ["ok"], "{check}");
    }
    let human = sandbox.run_in(&["doctor"], "", &[("CLAVIGER_LISTEN", &listen)]).succeeded();
    assert!(human.stdout.lines().all(|line| line.starts_with("ok")), "{}", human.stdout);
}

#[test]
fn what_is_wrong_fails_with_what_to_type_and_hides_nothing_else() {
    let sandbox = Sandbox::initialised();
    let key = sandbox.path("settings/master.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    sandbox.write("settings/config.toml", "[gateway]\nport = 1\n");
    sandbox.write("settings/providers.d/x.toml", "[providers.x]\nbase_url = 7\n");
    let ran = sandbox.run(&["doctor", "--json"]).ended_with(1);
    let findings = ran.json();
    for check in ["key file", "configuration", "catalogue"] {
        assert_eq!(verdict(&findings, check), ["fail"], "{check}: {findings}");
    }
    assert_eq!(verdict(&findings, "clock"), ["ok"]);
    let human = sandbox.run(&["doctor"]).ended_with(1);
    assert!(human.stdout.contains(&format!("hint: chmod go= {}", key.display())), "{}", human.stdout);
    assert!(human.stdout.contains("config.toml:2:1"), "{}", human.stdout);
    assert!(human.stderr.starts_with("error: "), "{}", human.stderr);
}

#[test]
fn without_a_vault_doctor_says_how_to_make_one() {
    let ran = Sandbox::empty().run(&["doctor"]).ended_with(1);
    assert!(ran.stdout.contains("hint: claviger init"), "{}", ran.stdout);
}

#[test]
fn a_followed_file_that_is_gone_is_found() {
    let sandbox = Sandbox::initialised();
    let login = r#"{"claudeAiOauth":{"accessToken":"canary-access","refreshToken":"canary-refresh","expiresAt":4102444800000}}"#;
    let file = sandbox.write("login.json", login);
    sandbox.run(&["import", "claude-code", "login.json", "--yes"]).succeeded();
    std::fs::remove_file(&file).unwrap();
    let findings = sandbox.run_in(&["doctor", "--json"], "", &[("CLAVIGER_LISTEN", &free_address())]).json();
    assert_eq!(verdict(&findings, "followed logins"), ["warn"]);
}
