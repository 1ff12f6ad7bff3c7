//! The gateway over real sockets: a fake broker before it, the simulator behind it.

#![expect(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's own modules, where a panic is a failure")]

mod attempts;
mod broker;
mod client;
mod clock;
mod errors;
mod headers;
mod limits;
mod options;
mod perimeter;
mod rig;
mod streams;
