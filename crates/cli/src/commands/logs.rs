//! `claviger logs`: prints the log of a detached server, and follows it.

use crate::args::LogsArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_runtime::{Clock, SystemClock};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// Most bytes printed of a log that is there already: its latest part.
const TAIL_MAX_BYTES: u64 = 1024 * 1024;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Most bytes read at once.
const STEP_BYTES: usize = 64 * 1024;

/// Runs the command. The log is text for people; with `--json` it is printed as it is.
pub async fn run(context: &Context, args: LogsArgs) -> Result<(), CliError> {
    let path = &context.paths.log_file;
    let mut log = match File::open(path) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(CliError::not_found(format!("there is no log at {}", path.display())).hint("claviger up -d"));
        }
        Err(error) => return Err(CliError::io("opening", path, &error)),
    };
    let failed = |error: &std::io::Error| CliError::io("reading", path, error);
    let size = log.metadata().map_err(|error| failed(&error))?.len();
    let mut at = size.saturating_sub(TAIL_MAX_BYTES);
    log.seek(SeekFrom::Start(at)).map_err(|error| failed(&error))?;
    loop {
        let (passed, reader) = pass_on(context, &mut log).map_err(|error| failed(&error))?;
        at += passed;
        if !args.follow || reader.is_break() {
            return Ok(());
        }
        SystemClock.sleep(LOOK_EVERY).await;
        if let Some(fresh) = replaced(path, at) {
            log = fresh;
            at = 0;
        }
    }
}

/// The log anew where a new server has begun it afresh.
fn replaced(path: &Path, at: u64) -> Option<File> {
    let shrunk = std::fs::metadata(path).ok()?.len() < at;
    shrunk.then(|| File::open(path).ok()).flatten()
}

/// How much was printed, and whether somebody still reads.
fn pass_on(context: &Context, log: &mut File) -> std::io::Result<(u64, ControlFlow<()>)> {
    let mut buffer = vec![0; STEP_BYTES];
    let mut passed = 0;
    loop {
        let read = log.read(&mut buffer)?;
        let Some(fresh) = buffer.get(..read).filter(|fresh| !fresh.is_empty()) else { return Ok((passed, ControlFlow::Continue(()))) };
        let reader = context.output.raw(fresh).map_err(std::io::Error::other)?;
        passed += read as u64;
        if reader.is_break() {
            return Ok((passed, reader));
        }
    }
}
