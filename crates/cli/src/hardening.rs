//! What every run does before it touches a secret: no core dumps, no tracing by others, private files, panics without payload.

use claviger_runtime::best_effort;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use std::io::Write;

/// Most files that a server may have open: enough for every connection that the gateway takes by default, five times over.
const OPEN_FILES_MAX: u64 = 65_536;

/// What systems without a hard limit take at least, where they refuse [`OPEN_FILES_MAX`].
const OPEN_FILES_MODEST: u64 = 10_240;

/// Open files that are kept from the gateway: for the vault, refreshes and the admin socket, which must work when it is full.
const OPEN_FILES_RESERVED: u64 = 128;

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

/// Raises the soft limit of open files, which is 1,024 or less on many systems, and says how many connections of clients
/// the limit affords: each may need another one to a provider.
pub fn connections_affordable() -> usize {
    for wanted in [OPEN_FILES_MAX, OPEN_FILES_MODEST] {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let wanted = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if limit.current.is_none_or(|current| current >= wanted) {
            break;
        }
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        best_effort("raising the limit of open files", rustix::process::setrlimit(Resource::Nofile, raised));
    }
    affordable(rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(OPEN_FILES_MAX))
}

fn affordable(open_files: u64) -> usize {
    usize::try_from(open_files.saturating_sub(OPEN_FILES_RESERVED) / 2).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::secret::AccessToken;
    use claviger_testkit::leak::canary_search;

    const ROLE: &str = "CLAVIGER_TEST_PANICKING_CHILD";
    const CANARY: &str = "canary-on-the-stack-6d0f2b91c4";

    /// The child: panics with a secret in its payload and on its stack. Without its role it has nothing to do.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the parent names the child's part in the environment")]
    fn panicking_child() {
        if std::env::var_os(ROLE).is_some() {
            apply();
            let secret = AccessToken::new(CANARY.to_owned());
            panic!("the request with {} failed", secret.expose());
        }
    }

    #[test]
    fn a_panic_tells_its_place_and_nothing_of_what_it_was_about() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["hardening::tests::panicking_child", "--exact", "--nocapture"]).env(ROLE, "1").env("RUST_BACKTRACE", "full");
        let ended = child.output().unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        let text = String::from_utf8_lossy(&said);
        assert!(!ended.status.success() && text.contains("error: internal error at "), "{text}");
        assert_eq!(canary_search(&said, &[CANARY]), [], "{text}");
    }

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (open_files, expected) in [(0, 1), (128, 1), (256, 64), (1024, 448), (OPEN_FILES_MAX, 32_704)] {
            assert_eq!(affordable(open_files), expected, "{open_files}");
        }
    }
}
