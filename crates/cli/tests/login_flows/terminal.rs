//! A terminal while a login is stopped, and after one that was given up.

use crate::pty::Terminal;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_a_code_is_waited_for_says_so_and_stores_nothing() {
    let stage = Stage::new("[login.device]\ndevice_url = \"ORIGIN/device/code\"\n").await;
    let polls = std::iter::repeat_n(claviger_simulator::DevicePoll::Pending, 100).collect();
    stage.simulator.control().login_policy_set(claviger_simulator::LoginPolicy { polls, ..crate::stage::policy("ada") });
    let mut terminal = Terminal::start(&stage, &["login", "acme"], &[]);
    terminal.sees("waiting for the login (Ctrl-C gives it up)");
    terminal.types("\u{3}");
    let (code, screen, echoes) = terminal.end();
    assert_eq!((code, echoes), (1, true), "{screen}");
    assert!(screen.contains("hint: claviger login acme"), "{screen}");
    assert!(stage.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_shows_what_is_typed_while_a_hidden_prompt_is_stopped_and_the_prompt_hides_it_again() {
    let stage = Stage::new("[login.key]\n").await;
    // A shell with job control that, unlike others, leaves the terminal as the stopped program left it.
    let script = "set -m; \"$0\" login acme --with-key; stty -a | grep -o -e '-*echo ' ; echo on we go; fg";
    let mut terminal = Terminal::shell(&stage, script);
    terminal.sees("which is not shown:");
    while terminal.echoes() {
        std::thread::yield_now();
    }
    terminal.types("\u{1a}");
    let screen = terminal.sees("on we go").to_owned();
    assert!(screen.contains("\necho "), "the shell's terminal shows what is typed: {screen}");
    while terminal.echoes() {
        std::thread::yield_now();
    }
    terminal.types("canary-key\n");
    let (code, screen, echoes) = terminal.end();
    assert_eq!((code, echoes), (0, true), "{screen}");
    assert!(!screen.contains("canary-key") && screen.contains("added account 1: acme"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_login_whose_provider_does_not_answer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/device/code", silent.local_addr().unwrap());
    let stage = Stage::new(&format!("[login.device]\ndevice_url = \"{url}\"\n")).await;
    let mut terminal = Terminal::start(&stage, &["login", "acme"], &[]);
    let (mut asked, _) = silent.accept().unwrap();
    terminal.types("\u{3}");
    // The question is taken back; left alone, it would wait for half a minute.
    asked.set_read_timeout(Some(std::time::Duration::from_secs(15))).unwrap();
    std::io::Read::read_to_end(&mut asked, &mut Vec::new()).unwrap();
    let (code, screen, echoes) = terminal.end();
    assert_eq!((code, echoes), (1, true), "{screen}");
    assert!(screen.contains("hint: claviger login acme"), "{screen}");
}
