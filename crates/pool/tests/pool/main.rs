//! The pool over a real vault and a provider that keeps a ledger.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what fails in a test may panic")]

mod ambient;
mod answers;
mod care;
mod check;
mod clocks;
mod crash;
mod credits;
mod crowds;
mod endpoint;
mod flight;
mod follow;
mod journal;
mod listing;
mod login;
mod options;
mod peers;
mod quarantine;
mod ranking;
mod refresh;
mod select;
mod stage;
mod take;
mod usage;
mod values;
mod vendors;
