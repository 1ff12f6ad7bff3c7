//! Test tools: a settable clock, failpoints, shared suites, the leak check.

pub mod leak;
pub mod store_suite;
pub mod token_answers;

mod clock;
mod failpoints;
mod file_clock;
mod proof_row;

pub use clock::{SIM_START, SimClock};
pub use failpoints::{Failpoints, Pause};
pub use file_clock::FileClock;
pub use proof_row::{PROOF_TABLE, proof_row, proof_row_to};
