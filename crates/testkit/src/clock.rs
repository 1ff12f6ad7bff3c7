//! A clock that stands still until a test moves it.

use claviger_domain::time::{Timestamp, millis};
use claviger_runtime::{BoxFuture, Clock};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the clock shows at first: 2026-01-01T00:00:00Z.
pub const SIM_START: Timestamp = Timestamp::from_secs(1_767_225_600);

/// A clock that a test moves. Clones share the time.
#[derive(Debug, Clone)]
pub struct SimClock {
    time: Arc<watch::Sender<Time>>,
    sleepers: Arc<watch::Sender<usize>>,
}

#[derive(Debug, Clone, Copy)]
struct Time {
    wall: Timestamp,
    boot: Duration,
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SimClock {
    /// A clock at [`SIM_START`], an hour after boot.
    pub fn new() -> Self {
        let time = Time { wall: SIM_START, boot: Duration::from_hours(1) };
        Self { time: Arc::new(watch::Sender::new(time)), sleepers: Arc::new(watch::Sender::new(0)) }
    }

    /// Time goes by: wall and boot time move, and sleepers whose time has come wake.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|time| *time = Time { wall: Timestamp(time.wall.0.saturating_add(millis(by))), boot: time.boot + by });
    }

    /// Somebody sets the wall clock, in either direction. Boot time and sleepers do not notice.
    pub fn set(&self, wall: Timestamp) {
        self.time.send_modify(|time| time.wall = wall);
    }

    /// Waits until at least this many sleep, so that a test moves the clock only when somebody waits for it.
    pub async fn sleeping(&self, count: usize) {
        drop(self.sleepers.subscribe().wait_for(|sleepers| *sleepers >= count).await);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.time.borrow().wall
    }

    fn boot(&self) -> Duration {
        self.time.borrow().boot
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut time = self.time.subscribe();
        let until = time.borrow().boot + duration;
        let sleeper = Sleeper::new(&self.sleepers);
        Box::pin(async move {
            // A clock that is gone never moves again.
            if time.wait_for(|time| time.boot >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
            drop(sleeper);
        })
    }
}

/// Counts one who sleeps, until it wakes or is dropped.
struct Sleeper(Arc<watch::Sender<usize>>);

impl Sleeper {
    fn new(sleepers: &Arc<watch::Sender<usize>>) -> Self {
        sleepers.send_modify(|count| *count += 1);
        Self(Arc::clone(sleepers))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = SimClock::new();
        let mut sleep = clock.sleep(Duration::from_secs(10));
        clock.sleeping(1).await;
        clock.advance(Duration::from_secs(9));
        assert!(futures_now(&mut sleep).await.is_none());
        clock.advance(Duration::from_secs(1));
        sleep.await;
        assert_eq!(clock.now(), SIM_START.plus(Duration::from_secs(10)));
    }

    #[tokio::test]
    async fn setting_the_wall_clock_wakes_nobody() {
        let clock = SimClock::new();
        let mut sleep = clock.sleep(Duration::from_secs(10));
        let boot = clock.boot();
        clock.set(Timestamp::from_secs(4_000_000_000));
        assert!(futures_now(&mut sleep).await.is_none());
        assert_eq!(clock.boot(), boot);
        assert_eq!(clock.now().as_secs(), 4_000_000_000);
    }

    /// One poll of a future.
    async fn futures_now(future: &mut BoxFuture<'static, ()>) -> Option<()> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(()) => Some(()),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
