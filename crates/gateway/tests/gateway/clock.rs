//! A clock that stands still until a test moves it.

use claviger_domain::time::Timestamp;
use claviger_runtime::{BoxFuture, Clock};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// 2026-01-01T00:00:00Z
pub const START: Timestamp = Timestamp(1_767_225_600_000);

#[derive(Debug)]
pub struct ManualClock {
    passed: watch::Sender<Duration>,
    /// Lengths of all sleeps that began.
    asked: Mutex<Vec<Duration>>,
    asked_changed: watch::Sender<usize>,
}

impl ManualClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { passed: watch::Sender::new(Duration::ZERO), asked: Mutex::default(), asked_changed: watch::Sender::new(0) })
    }

    pub fn advance(&self, by: Duration) {
        self.passed.send_modify(|passed| *passed += by);
    }

    /// Waits until somebody has begun a sleep of this length.
    pub async fn slept(&self, length: Duration) {
        let mut changes = self.asked_changed.subscribe();
        while !self.asked.lock().unwrap().contains(&length) {
            changes.changed().await.unwrap();
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        START.plus(*self.passed.borrow())
    }

    fn boot(&self) -> Duration {
        *self.passed.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.asked.lock().unwrap().push(duration);
        self.asked_changed.send_modify(|count| *count += 1);
        let end = *self.passed.borrow() + duration;
        let mut passed = self.passed.subscribe();
        Box::pin(async move {
            // A clock that is gone never rings.
            if passed.wait_for(|passed| *passed >= end).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
