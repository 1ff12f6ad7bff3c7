//! A home with a provider that a file alone defines, the identity provider behind it, and the binary on both.

use claviger_simulator::{LoginHitKind, LoginPolicy, Simulator, SimulatorConfig};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    root: TempDir,
}

/// A login under way: what it prints is read as it comes.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    seen: String,
}

/// What a run left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What a file has to say of a provider with a standard login; `ways` are its `login` tables.
pub(crate) fn provider(id: &str, origin: &str, ways: &str) -> String {
    format!(
        "[providers.{id}]\nname = \"Acme\"\ndialects = [\"chat\"]\nbase_url = \"{origin}/v1\"\n\
         [providers.{id}.wire.oauth]\nheader = \"authorization\"\nscheme = \"Bearer\"\n\
         [providers.{id}.wire.api_key]\nheader = \"authorization\"\nscheme = \"Bearer\"\n\
         [providers.{id}.oauth]\nauthorize_url = \"{origin}/authorize\"\ntoken_url = \"{origin}/oauth/token\"\n\
         client_id = \"client-1\"\nscopes = [\"one\", \"two\"]\n\
         [providers.{id}.refresh]\nprofile = \"strict\"\n\
         [providers.{id}.login.answer]\naccount_id = [\"account\", \"id\"]\nemail = [\"account\", \"email\"]\n\
         org_name = [\"organization\", \"name\"]\n{ways}"
    )
}

/// The members of a token answer that say who it is.
pub(crate) fn members(name: &str) -> Value {
    json!({"account": {"id": format!("id-{name}"), "email": format!("{name}@example.com")}, "organization": {"name": "Org"}})
}

/// A policy under which `name` logs in.
pub(crate) fn policy(name: &str) -> LoginPolicy {
    LoginPolicy { account: format!("{name}@example.com"), members: members(name), ..LoginPolicy::default() }
}

impl Stage {
    /// An initialised home; `ways` are the `login` tables of the provider `acme`, in which `ORIGIN` stands for the identity provider.
    pub(crate) async fn new(ways: &str) -> Self {
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        simulator.control().login_policy_set(policy("ada"));
        let stage = Self { simulator, root: tempfile::tempdir().unwrap() };
        for folder in ["settings/providers.d", "user"] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(stage.path(folder)).unwrap();
        }
        stage.define("acme", ways);
        stage.run(&["init"]).ended_with(0);
        stage
    }

    /// Defines one more provider.
    pub(crate) fn define(&self, id: &str, ways: &str) {
        let origin = self.simulator.origin();
        let ways = ways.replace("[login", &format!("[providers.{id}.login")).replace("ORIGIN", &origin);
        self.write(&format!("settings/providers.d/{id}.toml"), &provider(id, &origin, &ways));
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    /// The binary with this home, in an environment without a desktop.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        command
            .args(arguments)
            .env_clear()
            .env("CLAVIGER_HOME", self.path("home"))
            .env("CLAVIGER_CONFIG", self.path("settings/config.toml"))
            .env("HOME", self.path("user"))
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it; stdin stays open.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut child = self.command(arguments).envs(environment.iter().copied()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Running { child, stdin, stdout, seen: String::new() }
    }

    /// Runs it to its end, with nothing on stdin.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments, &[]).end()
    }

    /// All accounts.
    pub(crate) fn accounts(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.run(&["account", "list", "--json"]).ended_with(0).stdout).unwrap();
        list["accounts"].as_array().unwrap().clone()
    }

    /// How many codes and device codes the identity provider was asked to trade.
    pub(crate) fn exchanges(&self) -> usize {
        self.simulator.ledger().login_hits().iter().filter(|hit| hit.kind == LoginHitKind::Exchange).count()
    }

    /// Every secret that the identity provider handed out or was given, and what proves a login to it.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let hits = self.simulator.ledger().login_hits();
        let handed = hits.iter().filter(|hit| hit.answered.starts_with("sim-")).map(|hit| hit.answered.clone());
        let given = hits.iter().flat_map(|hit| ["code_verifier", "device_code", "code"].into_iter().filter_map(|name| hit.param(name)));
        handed.chain(given.map(str::to_owned)).collect()
    }
}

impl Running {
    /// The next event of a login with `--json`.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}\n{}", self.rest()))
    }

    /// The next event, which is of this kind.
    #[track_caller]
    pub(crate) fn event_named(&mut self, name: &str) -> Value {
        let event = self.event();
        assert_eq!(event["event"], name, "{event}");
        event
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        self.seen.push_str(&line);
        line
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        drop(self.child.kill());
        drop(self.child.stderr.take().unwrap().read_to_string(&mut text));
        text
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// What Ctrl-C sends.
    pub(crate) fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Ends stdin, and waits for the end.
    pub(crate) fn end(mut self) -> Ran {
        self.stdin.take();
        self.wait()
    }

    /// Waits for the end while stdin stays open.
    pub(crate) fn wait(mut self) -> Ran {
        self.stdout.read_to_string(&mut self.seen).unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ran { code, stdout: self.seen.clone(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The last event.
    #[track_caller]
    pub(crate) fn last_event(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub(crate) fn shows_none_of(self, secrets: &[String]) -> Self {
        assert!(!secrets.is_empty(), "the test looks for something");
        for secret in secrets {
            assert!(!self.stdout.contains(secret.as_str()) && !self.stderr.contains(secret.as_str()), "{secret} is in the output");
        }
        self
    }
}
