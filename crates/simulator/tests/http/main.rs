//! The simulator over real HTTP, one file a theme.

#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts test functions alone")]

mod client;
mod faults;
mod login;
mod models;
mod tokens;
