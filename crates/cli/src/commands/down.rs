//! `claviger down`: asks the server to stop and waits until it is gone.

use crate::admin_socket;
use crate::args::DownArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_runtime::{Clock, SystemClock};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The longest wait for the end: open streams may go on for the gateway's grace, half a minute by default.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Serialize)]
struct Stopped {
    stopped: bool,
    pid: Option<u32>,
}

/// Runs the command.
pub async fn run(context: &Context, _args: DownArgs) -> Result<(), CliError> {
    let Some(client) = admin_socket::connect(&context.paths.socket).await? else {
        return context.output.data(&Stopped { stopped: false, pid: None }, || "no server runs".to_owned());
    };
    let facts = client.shutdown().await?;
    let clock = SystemClock;
    let give_up = clock.boot() + WAIT_MAX;
    // A demo takes its home, and the lock in it, with it.
    let leaves_nothing = facts.simulator.is_some();
    while admin_socket::is_held(&context.paths.socket)? || (leaves_nothing && Path::new(&facts.home).exists()) {
        if clock.boot() > give_up {
            return Err(CliError::failed(format!("the server (pid {}) is still ending its open requests", facts.pid)).hint("claviger down"));
        }
        clock.sleep(LOOK_EVERY).await;
    }
    context.output.data(&Stopped { stopped: true, pid: Some(facts.pid) }, || format!("stopped (pid {})", facts.pid))
}
