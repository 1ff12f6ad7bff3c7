//! Keys that stand elsewhere: named on the command line, in the configuration, or found in the environment.

use crate::home::{Home, Ran};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

const LOCAL: &str = "[providers.local]\nbase_url = \"http://127.0.0.1:9\"\ndialects = [\"chat\"]\nenv = [\"LOCAL_KEY\"]\n[providers.local.wire.api_key]\nheader = \"authorization\"\nscheme = \"Bearer\"\n";

fn home(config: &str, mode: u32) -> Home {
    let home = Home::initialised();
    home.write("settings/providers.d/local.toml", LOCAL);
    home.write("settings/config.toml", &format!("[export]\nallow = true\n{config}"));
    std::fs::set_permissions(home.path("settings/config.toml"), PermissionsExt::from_mode(mode)).unwrap();
    home
}

fn token(home: &Home, variables: &[(&str, &str)]) -> Ran {
    let mut command = home.command(&["token", "local", "--json"]);
    Ran::of(&command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn a_key_of_the_environment_is_used_where_nothing_else_is() {
    let set = [("LOCAL_KEY", "sk-test-environment")];
    assert_eq!(token(&home("", 0o600), &set).succeeded().json()["token"], "sk-test-environment");
    token(&home("", 0o600), &[]).ended_with(4);
    token(&home("[environment]\nkeys = false\n", 0o600), &set).ended_with(4);
}

#[test]
fn a_configured_key_comes_before_the_environment_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-test-file\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let file = format!("file:{}", file.display());
    for (written, expected) in [
        ("env:MINE", "sk-test-mine"),
        (file.as_str(), "sk-test-file"),
        ("cmd:/usr/bin/printf %s sk-test-printed", "sk-test-printed"),
        ("sk-test-clear", "sk-test-clear"),
    ] {
        let home = home(&format!("[providers.local]\napi_key = \"{written}\"\n"), 0o600);
        let ran = token(&home, &[("MINE", "sk-test-mine"), ("LOCAL_KEY", "sk-test-environment")]).succeeded();
        assert_eq!(ran.json()["token"], expected);
        let shown = home.run(&["config", "show", "--origin"]).succeeded().stdout;
        assert!(shown.contains("providers.local.api_key") && !shown.contains("sk-test"), "{shown}");
    }
}

#[test]
fn a_key_in_clear_is_refused_in_a_file_that_others_can_read_and_a_program_in_one_that_they_can_write() {
    let clear = home("[providers.local]\napi_key = \"sk-test-clear\"\n", 0o644);
    let refused = clear.run(&["config", "check"]).ended_with(2);
    assert!(refused.stderr.contains("config.toml:4:11: ") && refused.stderr.contains("chmod 600"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("sk-test"), "{}", refused.stderr);
    let program = home("[providers.local]\napi_key = \"cmd:/bin/true\"\n", 0o666);
    let refused = program.run(&["config", "check"]).ended_with(2);
    assert!(refused.stderr.contains("can be written by others"), "{}", refused.stderr);
    home("[providers.local]\napi_key = \"env:MINE\"\n", 0o644).run(&["config", "check"]).succeeded();
}

#[test]
fn a_malformed_reference_is_told_with_its_place_and_without_its_text() {
    let home = home("[providers.local]\napi_key = \"env:canary-1 x\"\n", 0o600);
    let refused = home.run(&["config", "check"]).ended_with(2);
    assert!(refused.stderr.contains("config.toml:4:11: providers.local.api_key: after `env:`"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
}

#[test]
fn a_key_for_one_run_comes_before_all_others_and_never_stands_in_the_arguments() {
    let home = home("[providers.local]\napi_key = \"sk-test-clear\"\n", 0o600);
    let refused = home.run(&["serve", "--listen", "127.0.0.1:0", "--api-key", "local=canary-2"]).ended_with(2);
    assert!(refused.stderr.contains("read by everybody") && !refused.stderr.contains("canary"), "{}", refused.stderr);
    let mut command = home.command(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0", "--api-key", "local=env:RUN", "--json"]);
    Ran::of(&command.env("RUN", "sk-test-run").output().unwrap()).succeeded();
    assert_eq!(token(&home, &[]).succeeded().json()["token"], "sk-test-run");
    let listed = home.run(&["account", "list", "--json"]).succeeded().json();
    let sources: Vec<&Value> = listed["accounts"].as_array().unwrap().iter().map(|account| &account["source"]).collect();
    assert_eq!(sources.len(), 2);
    assert!(sources.contains(&&Value::from("runtime")) && sources.contains(&&Value::from("config")), "{listed}");
}

#[test]
fn a_value_that_cannot_be_had_is_shown_with_its_reason() {
    let home = home("[providers.local]\napi_key = \"env:GONE\"\n", 0o600);
    let refused = token(&home, &[("LOCAL_KEY", "sk-test-environment")]).ended_with(5);
    assert!(refused.stdout.contains("the variable GONE is not set"), "{}", refused.stdout);
    let listed = home.run(&["account", "list", "--json"]).succeeded().json();
    let cause = listed["accounts"][0]["standing"]["cause"].as_str().unwrap();
    assert!(cause.contains("the variable GONE is not set"), "{cause}");
}

#[test]
fn a_token_in_a_variable_for_keys_is_a_login() {
    let home = home("", 0o600);
    let entry = LOCAL.replace("env = ", "oauth_token_prefix = \"lt-\"\nenv = ");
    home.write(
        "settings/providers.d/local.toml",
        &format!("{entry}[providers.local.wire.oauth]\nheader = \"authorization\"\nscheme = \"Bearer\"\n"),
    );
    for (value, kind) in [("lt-test-1", "oauth"), ("sk-test-1", "api_key")] {
        assert_eq!(token(&home, &[("LOCAL_KEY", value)]).succeeded().json()["kind"], kind);
    }
}

#[test]
fn the_end_of_the_server_ends_a_program_that_hangs() {
    let program = "[providers.local]\napi_key = 'cmd:/bin/sh -c \"echo $$ > $TMPDIR/pid; exec sleep 600\"'\n";
    let home = home(program, 0o600);
    home.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0", "--json"]).succeeded();
    let listed = home.run(&["account", "list", "--json"]).succeeded().json();
    let cause = listed["accounts"][0]["standing"]["cause"].as_str().unwrap();
    assert!(cause.contains("being fetched"), "{cause}");
    let pid = std::fs::read_to_string(home.path("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_ok());
    home.run(&["down"]).succeeded();
    assert!(rustix::process::test_kill_process(pid).is_err(), "it runs on");
}
