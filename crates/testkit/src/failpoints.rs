//! Failpoints that a test arms by name: fail there, wait there, stop or die there, count.

use claviger_runtime::{BoxFuture, Failpoint, best_effort};
use rustix::process::{Signal, getpid, kill_process};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a thread that has stopped its own process waits for that: many times what a kernel takes to reach all threads.
const STOP_REACHES_ALL_WITHIN: Duration = Duration::from_millis(50);

/// What happens at the next pass of a site.
#[derive(Debug)]
enum Action {
    Go,
    Fail(String),
    Pause { reached: watch::Sender<bool>, released: watch::Receiver<()> },
    Stop,
    Kill,
}

#[derive(Debug, Default)]
struct Site {
    passes: u64,
    actions: VecDeque<Action>,
}

/// Failpoints by name. Clones share what was armed. A site that nobody armed is passed and counted.
#[derive(Debug, Clone, Default)]
pub struct Failpoints {
    /// Guards the sites; held for a look-up, never over an await.
    sites: Arc<Mutex<HashMap<&'static str, Site>>>,
}

/// One pass that is held up. Dropping it lets the program go on.
#[derive(Debug)]
pub struct Pause {
    reached: watch::Receiver<bool>,
    #[expect(dead_code, reason = "held for its Drop, which lets the program go on")]
    release: watch::Sender<()>,
}

impl Pause {
    /// Waits until the program stands at the site.
    pub async fn reached(&self) {
        drop(self.reached.clone().wait_for(|reached| *reached).await);
    }

    /// Lets the program go on.
    pub fn release(self) {}
}

impl Failpoints {
    /// Failpoints of which none is armed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next pass of a site fail with this text.
    pub fn fail(&self, site: &'static str, text: &str) {
        self.arm(site, Action::Fail(text.to_owned()));
    }

    /// Holds the next pass of a site.
    #[must_use]
    pub fn pause(&self, site: &'static str) -> Pause {
        let (sender, reached) = watch::channel(false);
        let (release, released) = watch::channel(());
        self.arm(site, Action::Pause { reached: sender, released });
        Pause { reached, release }
    }

    /// Kills this process with SIGKILL at the next pass of a site: no destructor runs, no buffer is written.
    pub fn kill(&self, site: &'static str) {
        self.arm(site, Action::Kill);
    }

    /// Stops this process with SIGSTOP at the next pass of a site, every thread of it, until somebody sends SIGCONT.
    pub fn stop(&self, site: &'static str) {
        self.arm(site, Action::Stop);
    }

    /// Lets this many passes of a site go by before what is armed next.
    pub fn skip(&self, site: &'static str, passes: u32) {
        for _ in 0..passes {
            self.arm(site, Action::Go);
        }
    }

    /// How often a site was passed.
    pub fn passes(&self, site: &'static str) -> u64 {
        self.sites().get(site).map_or(0, |site| site.passes)
    }

    fn arm(&self, site: &'static str, action: Action) {
        self.sites().entry(site).or_default().actions.push_back(action);
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<&'static str, Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failpoint for Failpoints {
    fn pass<'a>(&'a self, name: &'static str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let action = {
                let mut sites = self.sites();
                let site = sites.entry(name).or_default();
                site.passes += 1;
                site.actions.pop_front()
            };
            match action {
                None | Some(Action::Go) => Ok(()),
                Some(Action::Fail(text)) => Err(text),
                Some(Action::Pause { reached, mut released }) => {
                    reached.send_replace(true);
                    while released.changed().await.is_ok() {}
                    Ok(())
                }
                Some(Action::Stop) => {
                    signal(Signal::STOP);
                    // The signal may reach another thread first: this one must not go on until all stand still.
                    std::thread::sleep(STOP_REACHES_ALL_WITHIN);
                    Ok(())
                }
                Some(Action::Kill) => {
                    signal(Signal::KILL);
                    std::process::abort()
                }
            }
        })
    }
}

/// Sends a signal to this process, as another one would.
fn signal(signal: Signal) {
    best_effort("signal this process", kill_process(getpid(), signal));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_site_fails_once_for_each_time_that_it_was_armed() {
        let failpoints = Failpoints::new();
        failpoints.fail("before_send", "no");
        assert_eq!(failpoints.pass("before_send").await, Err("no".to_owned()));
        assert_eq!(failpoints.pass("before_send").await, Ok(()));
        assert_eq!((failpoints.passes("before_send"), failpoints.passes("elsewhere")), (2, 0));
    }

    #[tokio::test]
    async fn what_is_armed_waits_for_the_passes_that_are_skipped() {
        let failpoints = Failpoints::new();
        failpoints.skip("before_send", 2);
        failpoints.fail("before_send", "third");
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(failpoints.pass("before_send").await.is_err());
        }
        assert_eq!(seen, [false, false, true, false]);
    }

    #[tokio::test]
    async fn a_paused_pass_goes_on_when_it_is_released() {
        let failpoints = Failpoints::new();
        let pause = failpoints.pause("before_commit");
        let (passed, ()) = tokio::join!(failpoints.pass("before_commit"), async {
            pause.reached().await;
            pause.release();
        });
        assert_eq!(passed, Ok(()));
    }
}
