//! Start, readiness, second starts, signals and the end of a server.

use crate::home::{Home, http, mode};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

#[test]
fn up_in_the_background_creates_the_vault_and_is_found_by_other_commands_until_down() {
    let home = Home::new();
    let up = home.run(&["up", "-d", "--listen", "127.0.0.1:0", "--json"]).succeeded();
    assert!(up.stderr.contains("settings/master.key"), "{}", up.stderr);
    let up = up.json();
    assert!(up["key"]["key"].as_str().unwrap().starts_with("clv_k"));
    let listen = up["server"]["listen"].as_str().unwrap();
    assert_eq!(http(listen, "GET /livez HTTP/1.1", "").0, 200);
    for (path, expected) in [
        ("data", 0o700),
        ("data/admin.sock", 0o600),
        ("data/admin.lock", 0o600),
        ("data/vault.db", 0o600),
        ("data/claviger.log", 0o600),
        ("settings/master.key", 0o600),
    ] {
        assert_eq!(mode(&home.path(path)), expected, "{path}");
    }

    let status = home.run(&["status", "--json"]).succeeded().json();
    assert_eq!(status["running"], true);
    assert_eq!(status["server"]["pid"], up["server"]["pid"]);
    let again = home.run(&["up", "-d", "--json"]).succeeded().json();
    assert_eq!(again["server"]["pid"], up["server"]["pid"]);
    assert!(again.get("key").is_none(), "a second key was made");
    let refused = home.run(&["up"]).ended_with(5);
    assert!(refused.stderr.contains("runs already") && refused.stderr.contains("hint: claviger status"), "{}", refused.stderr);
    assert!(home.run(&["logs"]).succeeded().stdout.contains("serving"));

    home.run(&["down"]).succeeded();
    assert!(!home.path("data/admin.sock").exists());
    let status = home.run(&["status", "--json"]).succeeded().json();
    assert_eq!(status["running"], false);
    assert_eq!(status["keys_active"], 1);
    assert_eq!(home.run(&["down"]).succeeded().stdout, "no server runs\n");
}

#[test]
fn serve_without_a_vault_says_init() {
    let home = Home::new();
    let ran = home.run(&["serve"]).ended_with(4);
    assert!(ran.stderr.contains("there is no vault at") && ran.stderr.contains("hint: claviger init"), "{}", ran.stderr);
    assert!(!home.path("data").exists());
    let ran = home.run(&["key", "list", "--json"]).ended_with(4);
    assert_eq!(ran.json()["error"]["hint"], "claviger init");
}

#[test]
fn init_never_overwrites_a_vault() {
    let home = Home::initialised();
    let before = std::fs::read(home.path("settings/master.key")).unwrap();
    home.run(&["init"]).ended_with(5);
    assert_eq!(std::fs::read(home.path("settings/master.key")).unwrap(), before);
}

#[test]
fn a_vault_without_its_key_file_is_locked() {
    let home = Home::initialised();
    std::fs::rename(home.path("settings/master.key"), home.path("settings/elsewhere.key")).unwrap();
    let ran = home.run(&["key", "list"]).ended_with(3);
    assert!(ran.stderr.contains("master.key is not there"), "{}", ran.stderr);
}

#[test]
fn a_passphrase_vault_opens_with_its_passphrase_alone() {
    let home = Home::new();
    home.write("right", "canary-passphrase-1\n");
    home.write("wrong", "canary-passphrase-2\n");
    let with = |file: &str, arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("CLAVIGER_PASSPHRASE_FILE", home.path(file));
        crate::home::Ran::of(&command.output().unwrap())
    };
    with("right", &["init", "--seal", "passphrase"]).succeeded();
    with("right", &["key", "list"]).succeeded();
    let wrong = with("wrong", &["key", "list"]).ended_with(3);
    assert!(!wrong.stderr.contains("canary"), "{}", wrong.stderr);
    let unasked = home.run(&["key", "list"]).ended_with(3);
    assert!(unasked.stderr.contains("CLAVIGER_PASSPHRASE_FILE"), "{}", unasked.stderr);
}

#[test]
fn a_systemd_credential_opens_a_passphrase_vault() {
    let home = Home::new();
    home.write("credentials/claviger-passphrase", "canary-passphrase-1");
    for arguments in [&["init", "--seal", "passphrase"][..], &["key", "list"]] {
        let mut command = home.command(arguments);
        command.env("CREDENTIALS_DIRECTORY", home.path("credentials"));
        crate::home::Ran::of(&command.output().unwrap()).succeeded();
    }
}

#[test]
fn a_signal_ends_a_server_in_order() {
    let home = Home::initialised();
    for signal in [Signal::TERM, Signal::INT] {
        let server = home.serve();
        assert_eq!(http(&server.listen, "GET /livez HTTP/1.1", "").0, 200);
        server.signal(signal);
        let (code, said) = server.ended();
        assert_eq!(code, Some(0), "{said}");
        assert!(!home.path("data/admin.sock").exists());
    }
}

#[test]
fn a_killed_server_does_not_hinder_the_next_one() {
    let home = Home::initialised();
    drop(home.serve());
    assert!(home.path("data/admin.sock").exists(), "a killed server cannot clean up");
    assert_eq!(home.run(&["status", "--json"]).succeeded().json()["running"], false);
    let server = home.serve();
    assert_eq!(home.run(&["status", "--json"]).succeeded().json()["server"]["listen"], server.listen.as_str());
}

#[test]
fn a_busy_port_is_named_with_its_holder_and_the_flag() {
    let home = Home::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let ran = home.run(&["up", "-d", "--listen", &address.to_string()]).ended_with(1);
    assert!(ran.stderr.contains(&format!("port {} is taken", address.port())), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: use another one: --listen"), "{}", ran.stderr);
    #[cfg(target_os = "linux")]
    assert!(ran.stderr.contains(&format!("(pid {})", std::process::id())), "{}", ran.stderr);
    assert!(!home.path("data/admin.sock").exists());
}

#[test]
fn nothing_is_served_beyond_loopback() {
    let home = Home::initialised();
    let ran = home.run(&["serve", "--listen", "0.0.0.0:0"]).ended_with(5);
    assert!(ran.stderr.contains("beyond loopback"), "{}", ran.stderr);
}

#[test]
fn without_a_terminal_no_login_is_followed_unless_the_flag_says_so() {
    let home = Home::new();
    home.write("user/.claude/.credentials.json", r#"{"claudeAiOauth":{"accessToken":"canary-at-1","refreshToken":"canary-rt-1","expiresAt":4102444800000,"scopes":["user:inference"]}}"#);
    let up = home.run(&["up", "-d", "--listen", "127.0.0.1:0", "--json"]).succeeded();
    assert!(up.stderr.contains("not following"), "{}", up.stderr);
    let up = up.json();
    assert_eq!(up["adopted"][0]["followed"], false, "{up}");
    assert_eq!(up["accounts"].as_array().unwrap().len(), 0, "{up}");
    let up = home.run(&["up", "-d", "--yes", "--json"]).succeeded();
    assert!(!up.stdout.contains("canary") && !up.stderr.contains("canary"));
    assert_eq!(up.json()["adopted"][0]["followed"], true, "{}", up.stderr);
    let accounts = home.run(&["account", "list", "--json"]).succeeded().json();
    assert!(accounts["accounts"][0]["follows"].as_str().unwrap().ends_with(".credentials.json"), "{accounts}");
    let up = home.run(&["up", "-d", "--yes", "--json"]).succeeded().json();
    assert_eq!(up["adopted"].as_array().unwrap().len(), 0, "what is followed already is not offered again: {up}");
}

#[test]
fn a_second_signal_ends_a_server_at_once() {
    let home = Home::new();
    let mut command = home.command(&["up", "--demo", "--listen", "127.0.0.1:0", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let demo: Value = serde_json::Deserializer::from_reader(stdout).into_iter().next().unwrap().unwrap();
    let simulator = demo["server"]["simulator"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert_eq!(http(simulator, "POST /__simulator/fault HTTP/1.1", "{\"llm\":\"hold_until_released\"}").0, 200);
    // A request that the provider never answers keeps the end waiting.
    let listen = demo["server"]["listen"].as_str().unwrap();
    let mut waiting = TcpStream::connect(listen).unwrap();
    let (key, body) = (demo["key"]["key"].as_str().unwrap(), "{\"model\":\"demo\",\"messages\":[]}");
    write!(waiting, "POST /v1/messages HTTP/1.1\r\nhost: {listen}\r\nx-api-key: {key}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    while !http(simulator, "GET /__simulator/ledger HTTP/1.1", "").1.contains("\"held\":1") {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("stopping")));
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(said.any(|line| line.contains("stopped at once")));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn of_several_starts_at_once_all_end_with_the_one_server() {
    let home = Home::new();
    let start = || home.command(&["up", "-d", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let starting: Vec<_> = (0..3).map(|_| start().unwrap()).collect();
    let ran = starting.into_iter().map(|start| crate::home::Ran::of(&start.wait_with_output().unwrap()).succeeded().json());
    let servers: Vec<Value> = ran.map(|up| up["server"]["pid"].clone()).collect();
    assert!(servers.iter().all(|pid| pid.is_number() && *pid == servers[0]), "{servers:?}");
}

#[test]
fn a_start_in_the_background_ends_with_the_code_of_its_server() {
    let home = Home::initialised();
    std::fs::rename(home.path("settings/master.key"), home.path("settings/elsewhere.key")).unwrap();
    let ran = home.run(&["up", "-d", "--listen", "127.0.0.1:0"]).ended_with(3);
    assert!(ran.stderr.contains("master.key is not there"), "{}", ran.stderr);
}

#[test]
fn a_server_in_the_background_logs_as_much_as_was_asked_for() {
    let home = Home::new();
    home.write("settings/config.toml", "[log]\nlevel = \"off\"\n");
    home.run(&["up", "-d", "-v", "--listen", "127.0.0.1:0"]).succeeded();
    assert!(home.run(&["logs"]).succeeded().stdout.contains("INFO serving"));
}

#[test]
fn a_log_that_is_followed_ends_with_its_reader() {
    let home = Home::initialised();
    home.write("data/claviger.log", "a line\n");
    let mut follow = home.command(&["logs", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(follow.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "a line\n");
    drop(reader);
    let mut log = std::fs::OpenOptions::new().append(true).open(home.path("data/claviger.log")).unwrap();
    writeln!(log, "another line").unwrap();
    assert_eq!(follow.wait().unwrap().code(), Some(0));
}
