//! A home, a configuration that points real providers at a simulator, and the binary on both.

use claviger_simulator::{Rotation, Simulator, SimulatorConfig, TokenPolicy};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A body that every messages dialect answers.
pub(crate) const HELLO: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    root: TempDir,
}

/// A server that is killed when a test ends.
pub(crate) struct Served {
    child: Child,
    pub(crate) origin: String,
}

impl Stage {
    /// An initialised home; anthropic, openai and openai-codex are at the simulator.
    pub(crate) async fn new(rotation: Rotation) -> Self {
        let token = TokenPolicy { rotation, ..TokenPolicy::default() };
        let simulator = Simulator::start(SimulatorConfig { token, ..SimulatorConfig::default() }).await.unwrap();
        let stage = Self { simulator, root: tempfile::tempdir().unwrap() };
        for folder in ["settings/providers.d", "user"] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(stage.path(folder)).unwrap();
        }
        let profile = match rotation {
            Rotation::Strict => "profile = \"strict\"".to_owned(),
            Rotation::Grace { grace_s } => format!("profile = \"grace\"\ngrace_s = {grace_s}"),
            Rotation::None => "profile = \"non_rotating\"".to_owned(),
        };
        let origin = stage.simulator.origin();
        let mut overlay = format!("[providers.openai]\nbase_url = \"{origin}/v1\"\n");
        for (provider, base) in [("anthropic", origin.clone()), ("openai-codex", format!("{origin}/backend-api"))] {
            let entry = format!(
                "[providers.{provider}]\nbase_url = \"{base}\"\n[providers.{provider}.oauth]\ntoken_url = \"{origin}/oauth/token\"\n\
                 [providers.{provider}.refresh]\n{profile}\n[providers.{provider}.usage]\nurl = \"{origin}/usage\"\n"
            );
            overlay.push_str(&entry);
        }
        std::fs::write(stage.path("settings/providers.d/stage.toml"), overlay).unwrap();
        std::fs::write(stage.path("settings/config.toml"), "[export]\nallow = true\n").unwrap();
        stage.run(&["init"]);
        stage
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// The binary with this home, not yet run.
    #[expect(clippy::disallowed_methods, reason = "the runner names the release build in the environment")]
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let binary = std::env::var("CLAVIGER_RELEASE_BIN").unwrap_or_else(|_absent| env!("CARGO_BIN_EXE_claviger").to_owned());
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .env_clear()
            .env("CLAVIGER_HOME", self.path("home"))
            .env("CLAVIGER_CONFIG", self.path("settings/config.toml"))
            .env("HOME", self.path("user"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end; any failure is the test's.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs with `--json` and reads the one document.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(&[arguments, &["--json"]].concat()).stdout).unwrap()
    }

    /// Starts `serve` on a free port and waits for its ready line. Its log goes to `serve.log`.
    pub(crate) fn serve(&self) -> Served {
        self.serve_with(&[])
    }

    /// As [`Stage::serve`], with flags of every command.
    pub(crate) fn serve_with(&self, flags: &[&str]) -> Served {
        self.served(self.command(&[flags, &["serve", "--listen", "127.0.0.1:0"]].concat()))
    }

    /// As [`Stage::serve`], with variables in its environment.
    pub(crate) fn serve_within(&self, variables: &[(&str, &str)]) -> Served {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.envs(variables.iter().copied());
        self.served(command)
    }

    fn served(&self, mut command: Command) -> Served {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("serve.log")).unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let origin = line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
        let origin = origin.unwrap_or_else(|| panic!("not ready: {line:?} {}", std::fs::read_to_string(self.path("serve.log")).unwrap()));
        Served { child, origin }
    }

    /// A virtual key for one account.
    pub(crate) fn key_for(&self, account: i64) -> String {
        let created = self.json(&["key", "create", "--account", &account.to_string()]);
        created["key"].as_str().unwrap().to_owned()
    }
}

impl Served {
    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One POST over a fresh connection: status and body.
pub(crate) async fn post(origin: &str, path: &str, key: &str) -> (u16, String) {
    let answer = String::from_utf8(post_raw(origin, path, key).await).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// One POST over a fresh connection: the whole answer, status line and headers included.
pub(crate) async fn post_raw(origin: &str, path: &str, key: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = origin.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{HELLO}",
        HELLO.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// Everything below a folder, file by file.
pub(crate) fn files_below(folder: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.is_file() {
            let mut bytes = Vec::new();
            std::fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            found.push((path, bytes));
        }
    }
    found
}
