//! The whole program: the binary as people run it, real files of other tools, and a provider that keeps a ledger.
//!
//! `CLAVIGER_RELEASE_BIN` names the release build where there is one; else the build under test is run.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails in a test may panic")]

#[cfg(target_os = "linux")]
mod hardening;
mod imports;
mod kit;
mod leaks;
#[cfg(target_os = "linux")]
mod memory;
mod options;
mod processes;
mod rebind;
mod restore;
mod signing;
mod stage;
mod tampering;
mod usage;
