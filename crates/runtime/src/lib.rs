//! Clock, supervised tasks, failpoints and best-effort work: what everything but the pure core may use.

mod best_effort;
mod clock;
mod failpoint;
mod random;
mod supervisor;

pub use best_effort::{best_effort, failures};
pub use clock::{BoxFuture, Clock, SystemClock};
pub use failpoint::{Failpoint, NoFailpoints};
pub use random::{random_bytes, random_u64, random_u128};
pub use supervisor::{Supervisor, TaskEnd};
