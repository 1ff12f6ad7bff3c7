//! What accounts have left: learned from answers and endpoints, kept, and turned into blocks and their end.
//!
//! - `live`: the report of one account as requests and the ranking read it, and the signal that one has changed.
//! - `ingest`: takes over what was told, on whatever task heard it, without a lock or a wait; `heal`: which blocks that sets and lifts.
//! - `effects`: everything that may take a while: history, `waste`, `threshold` events. One task, behind a bounded queue.
//! - `schedule` and `poll`: which endpoint is asked when; `flight`: one question per account at a time.
//! - `cost`: what requests cost, where somebody knows. `view`: the answer of the control plane.

mod cost;
pub(crate) mod effects;
pub(crate) mod flight;
pub(crate) mod heal;
mod ingest;
pub(crate) mod live;
pub(crate) mod poll;
mod schedule;
mod threshold;
mod view;
mod waste;

pub use cost::RequestCost;
