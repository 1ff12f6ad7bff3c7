//! Failpoints that a test arms by name: fail there, wait there, die there, count.

use claviger_runtime::{BoxFuture, Failpoint};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What happens at the next pass of a site.
#[derive(Debug)]
enum Action {
    Fail(String),
    Pause { reached: watch::Sender<bool>, released: watch::Receiver<()> },
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
                None => Ok(()),
                Some(Action::Fail(text)) => Err(text),
                Some(Action::Pause { reached, mut released }) => {
                    reached.send_replace(true);
                    while released.changed().await.is_ok() {}
                    Ok(())
                }
                Some(Action::Kill) => die(),
            }
        })
    }
}

/// Ends this process as `kill -9` does.
fn die() -> ! {
    claviger_runtime::best_effort(
        "kill this process",
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL),
    );
    std::process::abort()
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
