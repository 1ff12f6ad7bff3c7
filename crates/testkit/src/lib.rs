//! Test tools: a settable clock, failpoints, shared suites, the leak check.

pub mod leak;
pub mod store_suite;

mod clock;
mod failpoints;

pub use clock::{SIM_START, SimClock};
pub use failpoints::{Failpoints, Pause};
