//! Drives processes of itself over one vault and a provider that keeps a ledger, kills, stops and crowds them, and prints a
//! table of what came of it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool that proves: a stage that cannot be set up is a failure, and its table and progress are printed"
)]

mod args;
mod checks;
mod dice;
mod disk;
mod hand;
mod sites;
mod stage;
mod table;
mod wire;
mod worker;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match args::Args::parse().command {
        Some(args::Role::Worker(worker)) => worker::main(worker),
        Some(args::Role::DiskWorker(worker)) => disk::worker_main(&worker),
        None => orchestrate(&args::Args::parse()),
    }
}

/// Runs the checks one after the other and prints the table.
fn orchestrate(args: &args::Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let table = runtime.block_on(checks::run(args));
    table.finish(args)
}
