//! What a person pastes, with and without a terminal.

use crate::browser::{agree, get};
use crate::pty::Terminal;
use crate::stage::Stage;
use claviger_simulator::LoginHitKind;

const PASTE: &str = "[login.paste]\nredirect = \"ORIGIN/show\"\n";

fn code_and_state(back: &str) -> (String, String) {
    // A page shows them as they are; in the address two of their letters are escaped.
    let part =
        |name: &str| back.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap().replace("%2D", "-").replace("%5F", "_");
    (part("code"), part("state"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_the_pasted_line_is_read_from_stdin() {
    let stage = Stage::new(PASTE).await;
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    assert_eq!((event["expects"].as_str(), event["redirect"].as_str()), (Some("paste"), None));
    let (code, state) = code_and_state(&agree(event["url"].as_str().unwrap()));
    running.types("");
    running.types("not a code");
    running.event_named("not_taken");
    running.types(&format!("{code}#foreign"));
    assert_eq!(running.event_named("not_taken")["why"], "that is the answer to another login");
    running.types(&format!("{code}#{state}"));
    let ran = running.wait().ended_with(0).shows_none_of(&stage.secrets());
    assert_eq!(ran.last_event()["outcome"], "created");
    let exchange = stage.simulator.ledger().login_hits().into_iter().find(|hit| hit.kind == LoginHitKind::Exchange).unwrap();
    assert_eq!(exchange.param("redirect_uri"), Some(format!("{}/show", stage.simulator.origin()).as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_alone_is_taken_where_pkce_proves_it_and_nowhere_else() {
    let stage = Stage::new(PASTE).await;
    stage.define("plain", "[login.paste]\nredirect = \"ORIGIN/show\"\npkce = false\n");
    for (provider, pkce) in [("acme", true), ("plain", false)] {
        let mut running = stage.start(&["login", provider, "--json"], &[]);
        let event = running.event_named("open_url");
        let back = agree(event["url"].as_str().unwrap());
        running.types(&code_and_state(&back).0);
        if !pkce {
            assert_eq!(running.event_named("not_taken")["why"], "that is the code alone: paste the whole address");
            running.types(&back);
        }
        running.wait().ended_with(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_on_stdin_ends_a_login_that_needs_a_paste() {
    let stage = Stage::new(PASTE).await;
    let ran = stage.run(&["login", "acme", "--json"]).ended_with(1);
    assert!(ran.last_event()["error"]["message"].as_str().unwrap().starts_with("nothing was pasted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_is_the_last_event_and_one_line() {
    let stage = Stage::new(PASTE).await;
    stage.write("settings/broken.toml", "no [ toml");
    let broken = stage.path("settings/broken.toml");
    let table: [(&[&str], i32, &str); 5] = [
        (&["login", "--json"], 2, "usage"),
        (&["login", "acme", "--json", "--nonsense"], 2, "usage"),
        (&["login", "acme", "--json", "--param", "x"], 2, "usage"),
        (&["login", "nobody", "--json"], 4, "not_found"),
        (&["login", "acme", "--json", "--config", broken.to_str().unwrap()], 2, "usage"),
    ];
    for (arguments, exit, code) in table {
        let ran = stage.run(arguments).ended_with(exit);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let event = ran.last_event();
        assert_eq!((&event["event"], &event["error"]["code"]), (&"error".into(), &code.into()), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_anew_forgets_a_login_and_says_so() {
    let stage = Stage::new(PASTE).await;
    let up = ["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"];
    stage.run(&up).ended_with(0);
    let mut running = stage.start(&["login", "acme", "--json"], &[]);
    let event = running.event_named("open_url");
    stage.run(&["down"]).ended_with(0);
    stage.run(&up).ended_with(0);
    running.types(&agree(event["url"].as_str().unwrap()));
    let ran = running.wait().ended_with(4).shows_none_of(&stage.secrets());
    assert!(ran.last_event()["error"]["message"].as_str().unwrap().contains("the server was started anew"), "{}", ran.stdout);
    assert_eq!((stage.exchanges(), stage.accounts().len()), (0, 0));
    stage.run(&["down"]).ended_with(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ssh_the_page_is_printed_and_both_the_browser_and_a_paste_are_waited_for() {
    let stage = Stage::new("[login.loopback]\n").await;
    let ssh = [("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22"), ("DISPLAY", ":0")];
    // A browser that were started would fail the test: there is no such program.
    let mut pasting = stage.start(&["login", "acme", "--json"], &ssh);
    let event = pasting.event_named("open_url");
    pasting.types(&agree(event["url"].as_str().unwrap()));
    pasting.wait().ended_with(0).shows_none_of(&stage.secrets());
    let mut coming_back = stage.start(&["login", "acme", "--json"], &ssh);
    let event = coming_back.event_named("open_url");
    assert_eq!(get(&agree(event["url"].as_str().unwrap())).status, 200);
    coming_back.wait().ended_with(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_address_is_pasted_at_the_prompt() {
    let stage = Stage::new(PASTE).await;
    let mut terminal = Terminal::start(&stage, &["login", "acme"], &[]);
    let screen = terminal.sees("or the code that it shows:").to_owned();
    let page = screen.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    terminal.types(&format!("{}\n", agree(&page)));
    let (code, screen, echoes) = terminal.end();
    assert_eq!((code, echoes), (0, true), "{screen}");
    assert!(screen.contains("added account 1: acme, ada@example.com (Org)"), "{screen}");
}
