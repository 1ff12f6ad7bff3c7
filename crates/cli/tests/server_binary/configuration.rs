//! Errors of the configuration, where values come from, and reloads.

use crate::home::Home;
use rustix::process::Signal;

#[test]
fn a_bad_file_is_a_usage_error_with_line_and_column() {
    let home = Home::new();
    home.write("settings/config.toml", "[gateway]\nlisten = \"127.0.0.1:0\"\nport = 4\n");
    for arguments in [&["config", "check"][..], &["config", "show"], &["up", "-d"]] {
        let ran = home.run(arguments).ended_with(2);
        assert!(ran.stderr.contains("settings/config.toml:3:1: unknown field `port`"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: claviger config check"), "{}", ran.stderr);
    }
    assert!(!home.path("data").exists());
}

#[test]
fn a_check_names_the_problems_of_all_files_at_once() {
    let home = Home::new();
    home.write("settings/config.toml", "[log]\nlevel = \"loud\"\n");
    home.write("settings/providers.d/local.toml", "[providers.local]\nbase_urls = \"http://127.0.0.1:9\"\n");
    let ran = home.run(&["config", "check"]).ended_with(2);
    assert!(ran.stderr.contains("config.toml:2:9: log.level"), "{}", ran.stderr);
    assert!(ran.stderr.contains("local.toml:2:"), "{}", ran.stderr);
}

#[test]
fn a_route_to_an_unknown_provider_is_an_error() {
    let home = Home::new();
    home.write("settings/config.toml", "[routes]\n\"x-*\" = \"nobody\"\n");
    let ran = home.run(&["config", "check"]).ended_with(2);
    assert!(ran.stderr.contains("config.toml:2:9: routes.\"x-*\": there is no provider \"nobody\""), "{}", ran.stderr);
}

#[test]
fn show_says_where_each_value_comes_from() {
    let home = Home::new();
    home.write("settings/config.toml", "[export]\nallow = true\n");
    let mut command = home.command(&["config", "show", "--origin"]);
    let output = command.env("CLAVIGER_LISTEN", "127.0.0.1:9").output().unwrap();
    let shown = crate::home::Ran::of(&output).succeeded().stdout;
    let folder = home.path("settings");
    let shown = shown.replace(folder.to_str().unwrap(), "SETTINGS");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_reload_swaps_everything_in_or_changes_nothing() {
    let home = Home::initialised();
    let overlay = |base_url: &str| {
        home.write("settings/providers.d/local.toml", &format!("[providers.local]\nbase_url = \"{base_url}\"\ndialects = [\"chat\"]\n[providers.local.wire.api_key]\nheader = \"authorization\"\nscheme = \"Bearer\"\n"));
    };
    let providers = || home.run(&["config", "reload", "--json"]);
    let mut server = home.serve();
    let before = providers().succeeded().json()["providers"].as_u64().unwrap();
    overlay("http://127.0.0.1:9");
    assert_eq!(providers().succeeded().json()["providers"].as_u64().unwrap(), before + 1);
    overlay("nowhere");
    let refused = providers().ended_with(2);
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("local.toml:2:"), "{}", refused.stdout);
    home.run(&["account", "list"]).succeeded();
    server.signal(Signal::HUP);
    server.says("the configuration is not usable; the old one stays");
    // A file that has become good again is noticed without being asked.
    overlay("http://127.0.0.1:9/v1");
    server.says("configuration reloaded");
    server.signal(Signal::TERM);
    let (code, said) = server.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_reload_without_a_server_says_so() {
    let home = Home::initialised();
    let ran = home.run(&["config", "reload"]).ended_with(1);
    assert!(ran.stderr.contains("no server runs"), "{}", ran.stderr);
}

#[test]
fn what_is_no_regular_file_is_no_configuration_and_is_not_waited_for() {
    let home = Home::new();
    std::os::unix::fs::symlink("/dev/zero", home.path("settings/config.toml")).unwrap();
    let ran = home.run(&["config", "check"]).ended_with(2);
    assert!(ran.stderr.contains("config.toml: cannot be read: it is no regular file"), "{}", ran.stderr);
}
