//! What is typed wrong, and what the help says.

use crate::home::Home;

#[test]
fn the_help_is_stable() {
    insta::assert_snapshot!(Home::new().run(&["--help"]).succeeded().stdout);
    insta::assert_snapshot!(Home::new().run(&["up", "--help"]).succeeded().stdout);
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let ran = Home::new().run(&["frobnicate"]).ended_with(2);
    assert!(ran.stderr.contains("frobnicate") && ran.stdout.is_empty(), "{}", ran.stderr);
    let ran = Home::new().run(&["frobnicate", "--json"]).ended_with(2);
    assert_eq!(ran.json()["error"]["code"], "usage");
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    Home::new().run(&[]).ended_with(2);
}

#[test]
fn the_version_goes_to_stdout() {
    assert!(Home::new().run(&["--version"]).succeeded().stdout.starts_with("claviger "));
}
