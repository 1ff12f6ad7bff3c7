//! The binary as a server: started, asked, reconfigured and stopped, each time in a throw-away home.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it is surprised")]

mod configuration;
mod demo;
mod help;
mod home;
mod lifecycle;
mod sealed;
mod values;
