//! The pool over a real vault and a provider that keeps a ledger.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what fails in a test may panic")]

mod answers;
mod clocks;
mod crash;
mod crowds;
mod endpoint;
mod flight;
mod follow;
mod journal;
mod quarantine;
mod refresh;
mod select;
mod stage;
