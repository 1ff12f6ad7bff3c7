//! A server in the background: the same binary started anew, never a fork of a process with threads.

use crate::admin_socket::{self, AdminClient};
use crate::context::Context;
use crate::error::CliError;
use claviger_runtime::{Clock, SystemClock, best_effort};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest wait for a server to answer: a passphrase is stretched and an old vault is migrated meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A log that is longer is put aside before a new server writes to it; one older one is kept.
const LOG_MAX_BYTES: u64 = 10 * 1024 * 1024;

/// Most bytes of the log that a failed start shows.
const SHOWN_MAX_BYTES: u64 = 4096;

/// Most lines of the log that a failed start shows.
const SHOWN_MAX_LINES: usize = 10;

/// Starts this program with other arguments in the background and waits until it answers on its socket.
pub async fn start(context: &Context, arguments: &[String]) -> Result<AdminClient, CliError> {
    let log_path = &context.paths.log_file;
    let (log, begin) = open_log(log_path)?;
    let program = std::env::current_exe().map_err(|error| CliError::failed(format!("this program cannot find itself: {error}")))?;
    let stdout = log.try_clone().map_err(|error| CliError::io("opening", log_path, &error))?;
    let mut command = Command::new(program);
    // Only what was named is passed on: a named home has its socket elsewhere than the default one.
    if let Some(home) = &context.global.home {
        command.arg("--home").arg(home);
    }
    if let Some(config) = &context.global.config {
        command.arg("--config").arg(config);
    }
    if context.global.verbose > 0 {
        command.arg(format!("-{}", "v".repeat(usize::from(context.global.verbose))));
    }
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(log);
    let child = command.spawn().map_err(|error| CliError::failed(format!("the server cannot be started: {error}")))?;
    await_ready(context, child, begin).await
}

/// Makes the server independent of the terminal that it was started from. For the new process itself.
pub fn leave_session() -> Result<(), CliError> {
    let left = rustix::process::setsid();
    left.map(|_session| ()).map_err(|errno| CliError::failed(format!("the session cannot be left: {errno}")))
}

async fn await_ready(context: &Context, mut child: Child, begin: u64) -> Result<AdminClient, CliError> {
    let clock = SystemClock;
    let give_up = clock.boot() + READY_WITHIN;
    loop {
        if let Some(client) = admin_socket::connect(&context.paths.socket).await?
            && client.server_status().await.is_ok_and(|status| status.server.pid == child.id())
        {
            return Ok(client);
        }
        let ended = child.try_wait().map_err(|error| CliError::failed(format!("the server cannot be watched: {error}")))?;
        if let Some(status) = ended {
            let failed = failed_start(&context.paths.log_file, begin, &format!("the server did not start ({status})"));
            return Err(failed.ending_as(status.code()));
        }
        if clock.boot() > give_up {
            best_effort("ending a server that does not answer", child.kill());
            return Err(failed_start(
                &context.paths.log_file,
                begin,
                &format!("the server did not answer within {} s", READY_WITHIN.as_secs()),
            ));
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// The log, 0600, and where the new server's part of it begins.
fn open_log(path: &Path) -> Result<(File, u64), CliError> {
    let length = std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
    if length > LOG_MAX_BYTES {
        std::fs::rename(path, path.with_extension("log.1")).map_err(|error| CliError::io("putting the old log aside", path, &error))?;
    }
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let log = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(path);
    let log = log.map_err(|error| CliError::io("opening", path, &error))?;
    let begin = log.metadata().map_or(0, |metadata| metadata.len());
    Ok((log, begin))
}

/// What the server said last, since its own error says more than ours. Its hint becomes ours.
fn failed_start(log: &Path, begin: u64, what: &str) -> CliError {
    let said = last_lines(log, begin).unwrap_or_default();
    let (hints, said): (Vec<&String>, Vec<&String>) = said.iter().partition(|line| line.starts_with("hint: "));
    let message = said.iter().fold(format!("{what}; it said:"), |message, line| format!("{message}\n  {line}"));
    let hint = hints.last().and_then(|line| line.strip_prefix("hint: ")).unwrap_or("claviger logs");
    CliError::failed(message).hint(hint)
}

fn last_lines(log: &Path, begin: u64) -> std::io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(SHOWN_MAX_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(SHOWN_MAX_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let skip = lines.len().saturating_sub(SHOWN_MAX_LINES);
    Ok(lines.into_iter().skip(skip).collect())
}
