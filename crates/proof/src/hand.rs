//! The hand on a worker: starts it, tells it what to do, stops it and kills it.

use crate::stage::Place;
use claviger_runtime::Supervisor;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

/// How long anything that a worker does may take on the machine's own clock before the run counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(30);
/// The pause between two looks whether a worker has stopped.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Who waits for which answer; `None` once the worker's output has ended.
type Waiters = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<String>>>>>;

/// A worker process. Dropping it kills the process.
pub(crate) struct Hand {
    child: Child,
    input: ChildStdin,
    waiters: Waiters,
    next: u64,
}

/// An answer that is still to come.
pub(crate) struct Asked(oneshot::Receiver<String>);

impl Asked {
    /// The answer, or `None` where the worker ended first.
    pub(crate) async fn end(self) -> Result<Option<String>, String> {
        let answer = tokio::time::timeout(HUNG_AFTER, self.0).await;
        answer.map(Result::ok).map_err(|_elapsed| "a worker hangs".to_owned())
    }

    /// The answer of a worker that must not end.
    pub(crate) async fn answer(self) -> Result<String, String> {
        self.end().await?.ok_or_else(|| "a worker ended instead of answering".to_owned())
    }
}

impl Hand {
    pub(crate) fn start(place: &Place, key: &str, tasks: &Supervisor) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("worker")
            .arg("--stage")
            .arg(place.folder())
            .args(["--key", key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let waiters: Waiters = Arc::new(Mutex::new(Some(HashMap::new())));
        let readers = Arc::clone(&waiters);
        tasks.spawn("answers of a worker", async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Some((id, answer)) = line.split_once(' ') else { continue };
                let waiter = id.parse().ok().and_then(|id: u64| lock(&readers).as_mut().and_then(|waiters| waiters.remove(&id)));
                if let Some(waiter) = waiter {
                    // Who asked may have given up.
                    drop(waiter.send(answer.to_owned()));
                }
            }
            // Those who still wait learn that no answer comes.
            lock(&readers).take();
        });
        Self { child, input, waiters, next: 0 }
    }

    /// Tells the worker to do something, and does not wait for it.
    pub(crate) async fn tell(&mut self, command: &str) -> Asked {
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        if let Some(waiters) = lock(&self.waiters).as_mut() {
            waiters.insert(self.next, sender);
        }
        // A worker that has just died cannot be told; its missing answer says so.
        drop(self.input.write_all(format!("{} {command}\n", self.next).as_bytes()).await);
        Asked(receiver)
    }

    /// Tells the worker to do something, and gives its answer.
    pub(crate) async fn ask(&mut self, command: &str) -> Result<String, String> {
        self.tell(command).await.answer().await.map_err(|why| format!("{command}: {why}"))
    }

    /// Sends a request; gives the access token with which it was served.
    pub(crate) async fn served(&mut self) -> Result<String, String> {
        served(&self.ask("request").await?)
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        id.expect("a worker that was not waited for has a process id")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until the worker stands still after SIGSTOP.
    pub(crate) async fn stopped(&self) -> Result<(), String> {
        let pid = self.pid();
        let standing = async {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).unwrap().is_none() {
                tokio::time::sleep(STOP_LOOK_INTERVAL).await;
            }
        };
        tokio::time::timeout(HUNG_AFTER, standing).await.map_err(|_elapsed| "a worker does not stop".to_owned())
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(mut self) -> Result<ExitStatus, String> {
        let end = tokio::time::timeout(HUNG_AFTER, self.child.wait()).await;
        Ok(end.map_err(|_elapsed| "a worker does not end".to_owned())?.unwrap())
    }

    /// Waits for the end of a process that SIGKILL ends.
    pub(crate) async fn killed(self) -> Result<(), String> {
        let end = self.ended().await?;
        let killed = end.signal() == Some(Signal::KILL.as_raw());
        if killed { Ok(()) } else { Err(format!("a worker was to be killed and ended with {end}")) }
    }

    /// Ends the process as a server ends.
    pub(crate) async fn exit(mut self) -> Result<(), String> {
        drop(self.tell("exit").await);
        let end = self.ended().await?;
        if end.success() { Ok(()) } else { Err(format!("a worker ended with {end}")) }
    }
}

/// The access token of an answer to `request`, where that was served.
pub(crate) fn served(answer: &str) -> Result<String, String> {
    answer.strip_prefix("served 200 ").map(str::to_owned).ok_or_else(|| format!("a request was not served: {answer}"))
}

fn lock(waiters: &Waiters) -> std::sync::MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<String>>>> {
    waiters.lock().unwrap_or_else(PoisonError::into_inner)
}
