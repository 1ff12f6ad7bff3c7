//! A throw-away home with the binary on it, in an environment of its own.

use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A throw-away home. No test sees the user's; a server that is left in it is stopped.
pub(crate) struct Sandbox {
    root: TempDir,
}

/// What a run left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    /// Folders, and nothing in them.
    pub(crate) fn empty() -> Self {
        let sandbox = Self { root: tempfile::tempdir().unwrap() };
        for folder in ["settings/providers.d", "user"] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(sandbox.path(folder)).unwrap();
        }
        sandbox
    }

    /// With a vault.
    pub(crate) fn initialised() -> Self {
        let sandbox = Self::empty();
        sandbox.run(&["init"]).succeeded();
        sandbox
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Writes a file, 0600.
    pub(crate) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_in(arguments, "", &[])
    }

    pub(crate) fn run_in(&self, arguments: &[&str], stdin: &str, environment: &[(&str, &str)]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_claviger"))
            .args(arguments)
            .env_clear()
            .env("CLAVIGER_HOME", self.path("home"))
            .env("CLAVIGER_CONFIG", self.path("settings/config.toml"))
            .env("HOME", self.path("user"))
            .envs(environment.iter().copied())
            .current_dir(self.root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone before it is written to.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.path("home/admin.sock").exists() {
            drop(self.run(&["down"]));
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Stdout as the one JSON document that it must be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Whether a whole word stands anywhere in the output. Fake tokens are short, so that their letters stand everywhere.
    pub(crate) fn shows(&self, word: &str) -> bool {
        let is_apart = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
        [&self.stdout, &self.stderr].into_iter().any(|text| text.split(is_apart).any(|found| found == word))
    }

    #[track_caller]
    pub(crate) fn shows_none_of(self, words: &[&str]) -> Self {
        for word in words {
            assert!(!self.shows(word), "{word} is in the output\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        }
        self
    }
}

/// A database that a real version of oh-my-pi wrote, with fake tokens.
pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers/tests/fixtures/omp").join(name);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_search_for_words_finds_a_planted_one() {
    let ran = |stdout: &str| Ran { code: 0, stdout: stdout.to_owned(), stderr: String::new() };
    assert!(ran("token: \"at-1\",").shows("at-1"));
    assert!(!ran("format-1 cat-12").shows("at-1"));
}
