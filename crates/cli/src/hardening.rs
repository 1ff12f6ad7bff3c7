//! What every run does before it touches a secret: no core dumps, no tracing by others, private files, panics without payload.

use claviger_runtime::best_effort;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use std::io::Write;

/// Prepares the process. A system that refuses a step is no reason not to run; the rest still holds.
pub fn apply() {
    rustix::process::umask(Mode::from_bits_truncate(0o077));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Refused only inside sandboxes that forbid it, where core dumps are the sandbox's affair.
    best_effort("switching core dumps off", rustix::process::setrlimit(Resource::Core, none));
    #[cfg(target_os = "linux")]
    best_effort("closing the memory to others", rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable));
    std::panic::set_hook(Box::new(|panic| {
        // The payload may quote what the program was working on, so only the place is told.
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        drop(writeln!(std::io::stderr().lock(), "error: internal error at {place}"));
    }));
}
