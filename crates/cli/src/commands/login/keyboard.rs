//! What a person types or pastes, while other things may happen: a line at a time, and never an echo that stays off.

use crate::error::CliError;
use claviger_admin::Exposed;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Read};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Most bytes of a line that is read; a terminal gives 4 KiB at most, a program may give more.
const LINE_MAX_BYTES: usize = 32 * 1024;

/// Lines of stdin. A line that is under way when something else happens is not lost: the next call waits for it.
#[derive(Debug, Default)]
pub struct Keyboard {
    reading: Option<JoinHandle<std::io::Result<Zeroizing<String>>>>,
    ended: bool,
}

impl Keyboard {
    /// The next line without its end; `None` at the end of stdin. Cancel safe.
    pub async fn line(&mut self) -> Result<Option<Exposed>, CliError> {
        if self.ended {
            return Ok(None);
        }
        let reading = self.reading.get_or_insert_with(|| tokio::task::spawn_blocking(read_line));
        let read = reading.await;
        self.reading = None;
        let line = read.map_err(|error| CliError::caused(&error))?;
        let line = line.map_err(|error| CliError::failed(format!("stdin cannot be read: {error}")))?;
        if line.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(Exposed::new(line.trim().to_owned())))
    }

    /// Whether there is nothing more to come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

fn read_line() -> std::io::Result<Zeroizing<String>> {
    // The whole capacity at once: growing would leave copies behind.
    let mut line = Zeroizing::new(String::with_capacity(LINE_MAX_BYTES));
    std::io::stdin().lock().take(LINE_MAX_BYTES as u64).read_line(&mut line)?;
    Ok(line)
}

/// Whether a person types.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// A terminal that does not show what is typed, until this is dropped.
#[derive(Debug)]
pub struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Hides what is typed from now on.
    pub fn new() -> Result<Self, CliError> {
        let failed = |error: rustix::io::Errno| CliError::failed(format!("the terminal failed: {error}"));
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The end of the line still shows, so that the next words begin on a line of their own.
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).map_err(failed)?;
        Ok(Self { before })
    }
}

/// The terminal as it was found; nothing where stdin is none.
#[derive(Debug)]
pub struct Found(Option<Termios>);

impl Found {
    /// As it is now.
    pub fn now() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }

    /// Stops this process as Ctrl-Z does, with the terminal as it was found: a shell does not show again what is typed. When the
    /// process goes on, the terminal is as it was before the stop.
    pub fn stop(&self) {
        let set = |mode: &Termios| tcsetattr(std::io::stdin(), OptionalActions::Now, mode);
        let own = self.0.as_ref().and_then(|found| {
            let own = tcgetattr(std::io::stdin()).ok();
            claviger_runtime::best_effort("give the terminal back", set(found));
            own
        });
        // Not SIGSTOP: where no shell could let the process go on, this one is not heeded, as Ctrl-Z is not.
        let stopped = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TTIN);
        claviger_runtime::best_effort("stop as Ctrl-Z does", stopped);
        if let Some(own) = own {
            claviger_runtime::best_effort("take the terminal again", set(&own));
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        claviger_runtime::best_effort("show again what is typed", tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before));
    }
}
