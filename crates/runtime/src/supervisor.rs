//! Named tasks that somebody owns: the only place that spawns.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How a wait for all tasks ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    /// All tasks ended by themselves.
    Drained,
    /// Some were still running at the deadline and were dropped.
    Dropped(usize),
}

/// Owns tasks. Cheap to share behind an `Arc`; whoever holds the last one ends its tasks by dropping it.
#[derive(Debug)]
pub struct Supervisor {
    /// Guards the set of tasks; held for the time of an insertion, never over an await.
    tasks: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// An owner without tasks.
    pub fn new() -> Self {
        Self { tasks: Mutex::new(JoinSet::new()), stop: watch::Sender::new(false) }
    }

    /// Starts a named task on the current runtime. A panic ends that task alone and is logged.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!("a task panicked");
            }
        }
        tracing::trace!(task = name, "task starts");
        tasks.spawn(work);
    }

    /// Resolves once [`Supervisor::stop`] was called; for loops that must end.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the supervisor is gone, which is a stop as well.
            drop(stop.wait_for(|stopped| *stopped).await);
        }
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Asks all tasks to end, waits for them for at most `patience`, and drops the rest.
    pub async fn stop(&self, patience: Duration) -> TaskEnd {
        self.stop.send_replace(true);
        let mut tasks = {
            let mut guard = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *guard)
        };
        let drained = tokio::time::timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
        let left = tasks.len();
        tasks.shutdown().await;
        if drained.is_ok() { TaskEnd::Drained } else { TaskEnd::Dropped(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_waits_for_tasks_that_listen_and_drops_those_that_do_not() {
        let supervisor = Supervisor::new();
        supervisor.spawn("listens", supervisor.stopped());
        assert_eq!(supervisor.stop(Duration::from_secs(5)).await, TaskEnd::Drained);

        let supervisor = Supervisor::new();
        supervisor.spawn("deaf", std::future::pending());
        assert_eq!(supervisor.stop(Duration::ZERO).await, TaskEnd::Dropped(1));
    }

    #[tokio::test]
    async fn a_panicking_task_takes_nothing_else_down() {
        let supervisor = Supervisor::new();
        let (done, wait) = tokio::sync::oneshot::channel();
        supervisor.spawn("panics", async { panic!("on purpose") });
        supervisor.spawn("goes on", async move { done.send(()).unwrap() });
        wait.await.unwrap();
    }
}
