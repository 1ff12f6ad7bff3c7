//! Values by reference, fetched: from the environment, from files, and from what programs print.

use crate::env::Env;
use claviger_domain::secret::{SECRET_MAX_BYTES, SecretText};
use claviger_domain::value_ref::ValueRef;
use claviger_pool::{ValueError, ValueSource};
use claviger_runtime::{BoxFuture, best_effort};
use rustix::fs::{Mode, OFlags};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// How long a program may take to print a key: time for a person to touch a security key, and little more.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of a text that is no single key: shared configurations of large companies have some 100 KiB.
const TEXT_MAX_BYTES: usize = 1024 * 1024;

/// How long a program that has ended is read from: what it printed is there already, and what it has left running in the
/// background may hold the pipe open for ever.
const PIPE_LEFT_OPEN_MAX: Duration = Duration::from_millis(250);

/// Variables that a program is started with: what password managers need to find their agents and cloud programs their files, and
/// nothing that could be a secret.
pub const COMMAND_ENVIRONMENT: [&str; 15] = [
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "GPG_TTY",
];

/// Fetches values with the environment of this process.
#[derive(Debug)]
pub struct OutsideValues {
    env: Env,
}

impl OutsideValues {
    /// With this environment.
    pub fn new(env: Env) -> Self {
        Self { env }
    }
}

impl ValueSource for OutsideValues {
    fn fetch<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>> {
        Box::pin(async move {
            let text = self.whole(value, SECRET_MAX_BYTES).await.map_err(|missing| missing.error)?;
            tidy(&text, &value.to_string())
        })
    }

    fn text<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<Option<Zeroizing<Vec<u8>>>, ValueError>> {
        Box::pin(async move {
            match self.whole(value, TEXT_MAX_BYTES).await {
                Ok(text) if text.len() > TEXT_MAX_BYTES => Err(ValueError(format!("{value} gives more than {TEXT_MAX_BYTES} bytes"))),
                Ok(text) => Ok(Some(text)),
                Err(Missing { absent: true, .. }) => Ok(None),
                Err(Missing { absent: false, error }) => Err(error),
            }
        })
    }
}

/// Why a value cannot be had, and whether that is because there is no such thing.
struct Missing {
    absent: bool,
    error: ValueError,
}

impl Missing {
    fn new(error: &std::io::Error, why: String) -> Self {
        Self { absent: error.kind() == std::io::ErrorKind::NotFound, error: ValueError(why) }
    }
}

impl From<ValueError> for Missing {
    fn from(error: ValueError) -> Self {
        Self { absent: false, error }
    }
}

impl OutsideValues {
    /// A value as it stands, up to this size and a byte.
    async fn whole(&self, value: &ValueRef, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Missing> {
        match value {
            ValueRef::Literal(key) => Ok(Zeroizing::new(key.expose().as_bytes().to_vec())),
            ValueRef::Env(name) => {
                let unset = || ValueError(format!("the variable {name} is not set in the environment of the server"));
                let text = self.env.lookup(name).ok_or_else(|| Missing { absent: true, error: unset() })?;
                Ok(Zeroizing::new(text.into_bytes()))
            }
            ValueRef::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path, max_bytes)).await;
                read.map_err(|error| ValueError(error.to_string()))?
            }
            ValueRef::Cmd(words) => self.printed(words, max_bytes).await,
        }
    }
}

/// The text without the white space at its ends, if it can be a key.
fn tidy(bytes: &[u8], place: &str) -> Result<SecretText, ValueError> {
    let text =
        std::str::from_utf8(bytes).map(str::trim).map_err(|_source| ValueError(format!("{place} gives something that is no text")))?;
    if text.is_empty() {
        return Err(ValueError(format!("{place} gives nothing")));
    }
    if text.len() > SECRET_MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ValueError(format!(
            "{place} gives something that is no key: one word of at most {SECRET_MAX_BYTES} bytes is expected"
        )));
    }
    Ok(SecretText::new(text.to_owned()))
}

/// Who may have written a file whose text is taken for a key, or whose text names a program.
pub fn check_owner(path: &Path, metadata: &std::fs::Metadata) -> Result<(), ValueError> {
    let ours = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
    if !ours {
        return Err(ValueError(format!("{} belongs to somebody else", path.display())));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(ValueError(format!("{0} can be written by others: chmod go-w {0}", path.display())));
    }
    Ok(())
}

fn read_file(path: &Path, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Missing> {
    let failed = |error: std::io::Error| Missing::new(&error, format!("{} cannot be read: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(ValueError(format!("{} is no regular file", path.display())).into());
    }
    // It may have been replaced since: by a pipe, whose opening waits for a writer, or by the file of another.
    let open = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, open, Mode::empty()).map_err(|error| failed(error.into()))?;
    let file = std::fs::File::from(file);
    check_owner(path, &file.metadata().map_err(failed)?)?;
    // The buffer never grows, so that no copy of it is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max_bytes + 2));
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl OutsideValues {
    /// Runs a program and takes what it prints. What it says on stderr is not repeated: it may hold anything.
    async fn printed(&self, words: &[String], max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Missing> {
        let Some((program, arguments)) = words.split_first() else { return Err(ValueError("no program is named".to_owned()).into()) };
        let variables = COMMAND_ENVIRONMENT.iter().filter_map(|name| Some((*name, self.env.lookup(name)?)));
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: what the program starts ends with it.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| Missing::new(&error, format!("{program} cannot be started: {error}")))?;
        let group = Group::of(&child);
        let ended = tokio::time::timeout(COMMAND_TIMEOUT, output(&mut child, max_bytes)).await;
        drop(group);
        match ended {
            Err(_elapsed) => Err(ValueError(format!("{program} did not end within {} s", COMMAND_TIMEOUT.as_secs())).into()),
            Ok(Err(error)) => Err(ValueError(format!("{program} cannot be read: {error}")).into()),
            Ok(Ok((None, too_long))) => Ok(too_long),
            Ok(Ok((Some(status), text))) if status.success() => Ok(text),
            Ok(Ok((Some(status), _))) => Err(ValueError(format!("{program} failed: {status}")).into()),
        }
    }
}

/// What a program prints, and how it ended; `None` for one that printed too much and was not waited for.
async fn output(child: &mut Child, max_bytes: usize) -> std::io::Result<(Option<ExitStatus>, Zeroizing<Vec<u8>>)> {
    let mut text = Zeroizing::new(Vec::with_capacity(max_bytes + 2));
    let Some(stdout) = child.stdout.take() else { return Ok((Some(child.wait().await?), text)) };
    let mut stdout = stdout.take(max_bytes as u64 + 1);
    let ended = {
        let mut reading = pin!(stdout.read_to_end(&mut text));
        tokio::select! {
            read = &mut reading => {
                read?;
                None
            }
            status = child.wait() => {
                let status = status?;
                if let Ok(read) = tokio::time::timeout(PIPE_LEFT_OPEN_MAX, reading).await {
                    read?;
                }
                Some(status)
            }
        }
    };
    if text.len() > max_bytes {
        return Ok((None, text));
    }
    let status = match ended {
        Some(status) => status,
        None => child.wait().await?,
    };
    Ok((Some(status), text))
}

/// The processes of a program; they end when this is dropped.
#[derive(Debug)]
pub struct Group(Option<rustix::process::Pid>);

impl Group {
    /// Of a program that was started as the leader of a group of its own.
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            // Nothing is left of a program that ended by itself.
            best_effort("ending a program", ended.or_else(|error| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    async fn fetch(text: &str) -> Result<String, String> {
        let path = std::env::split_paths("/usr/bin:/bin").next().unwrap();
        let env =
            Env::fixed(&[("MY_KEY", "canary-env-1"), ("EMPTY", ""), ("PATH", path.to_str().unwrap()), ("OTHER_SECRET", "canary-other")]);
        let value = ValueRef::read(text).unwrap();
        let fetched = OutsideValues::new(env).fetch(&value).await;
        fetched.map(|secret| secret.expose().to_owned()).map_err(|error| error.0)
    }

    #[tokio::test]
    async fn a_variable_is_read_and_an_empty_one_is_none() {
        assert_eq!(fetch("env:MY_KEY").await.as_deref(), Ok("canary-env-1"));
        for absent in ["env:EMPTY", "env:NOT_THERE"] {
            assert!(fetch(absent).await.unwrap_err().contains("is not set"));
        }
    }

    #[tokio::test]
    async fn a_file_is_read_unless_others_can_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "canary-file-1\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let text = format!("file:{}", path.display());
        assert_eq!(fetch(&text).await.as_deref(), Ok("canary-file-1"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(fetch(&text).await.unwrap_err().contains("can be written by others"));
        assert!(fetch("file:/nowhere/at/all").await.unwrap_err().contains("cannot be read"));
        assert!(fetch(&format!("file:{}", folder.path().display())).await.unwrap_err().contains("no regular file"));
    }

    #[tokio::test]
    async fn a_program_is_run_without_a_shell_and_without_our_environment() {
        assert_eq!(fetch("cmd:/usr/bin/printf '%s\\n' canary-cmd-1").await.as_deref(), Ok("canary-cmd-1"));
        assert_eq!(fetch("cmd:/usr/bin/printf %s $(id)").await.as_deref(), Ok("$(id)"));
        let environment = fetch("cmd:/bin/sh -c 'echo [$OTHER_SECRET]'").await;
        assert_eq!(environment.as_deref(), Ok("[]"));
    }

    #[tokio::test]
    async fn a_program_that_fails_says_so_without_what_it_printed() {
        let failed = fetch("cmd:/bin/sh -c 'echo canary-out; echo canary-err >&2; exit 3'").await.unwrap_err();
        assert!(failed.contains("exit status: 3") && !failed.contains("canary"), "{failed}");
        assert!(fetch("cmd:/nowhere/program").await.unwrap_err().contains("cannot be started"));
        assert!(fetch("cmd:/bin/true").await.unwrap_err().contains("gives nothing"));
        let two_lines = fetch("cmd:/usr/bin/printf 'canary-a\\ncanary-b'").await.unwrap_err();
        assert!(two_lines.contains("is no key") && !two_lines.contains("canary"), "{two_lines}");
    }

    #[tokio::test]
    async fn a_program_that_leaves_another_one_behind_with_its_output_is_not_waited_for() {
        let text = "cmd:/bin/sh -c 'echo canary-fork-1; sleep 300 & exit 0'";
        let fetched = tokio::time::timeout(Duration::from_secs(20), fetch(text)).await.expect("the program has ended");
        assert_eq!(fetched.as_deref(), Ok("canary-fork-1"));
    }

    #[tokio::test]
    async fn a_program_that_prints_without_end_is_cut_off() {
        let text = "cmd:/bin/sh -c 'trap \"\" PIPE; while :; do echo canary-flood; done'";
        let fetched = tokio::time::timeout(Duration::from_secs(20), fetch(text)).await.expect("nobody reads on");
        let failed = fetched.unwrap_err();
        assert!(failed.contains("is no key") && !failed.contains("canary"), "{failed}");
    }

    #[tokio::test]
    async fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(fetch(&format!("file:{}", path.display())).await.unwrap_err().contains("no regular file"));
    }
}
