//! The pool over a real vault and a provider that keeps a ledger.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what fails in a test may panic")]

mod crash;
mod follow;
mod refresh;
mod select;
mod stage;
