//! `claviger completions`

use crate::sandbox::Sandbox;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let sandbox = Sandbox::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = sandbox.run(&["completions", shell]).succeeded();
        assert!(ran.stdout.contains("doctor") && ran.stdout.contains("from-json"), "{shell}");
        assert_eq!(sandbox.run(&["completions", shell, "--json"]).succeeded().json()["shell"], shell);
    }
    sandbox.run(&["completions", "tcsh"]).ended_with(2);
}
