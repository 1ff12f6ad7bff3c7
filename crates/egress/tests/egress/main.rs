//! The outbound client against raw listeners on loopback.
#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

mod dialling;
mod exchange;
mod pooled;
mod proxied;
mod tls;
mod upstream;
