//! Work that may fail without harm: counted and logged, never silent.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

static FAILURES: AtomicU64 = AtomicU64::new(0);

/// Takes a result whose failure harms nobody. `why` says what was tried; a failure is counted and logged.
pub fn best_effort<T, E: Display>(why: &'static str, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            FAILURES.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(what = why, error = %error, "best effort failed");
            None
        }
    }
}

/// How many best-effort works have failed in this process.
pub fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}
