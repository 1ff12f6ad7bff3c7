//! Commands as they are typed: the binary on a throw-away home, with and without a server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod account;
mod care;
mod completions;
mod doctor;
mod import;
mod keeping;
mod key;
mod login;
mod sandbox;
mod seal;
mod served;
mod token;
mod usage;
