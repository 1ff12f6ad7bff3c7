//! What becomes of the vault when its disk fails: power lost at every change, full, read-only, damaged, killed migrations.
//!
//! Workers run with `claviger-faultdisk` before libc, which logs what they change and lets it fail.

mod figures;
mod journal;
mod locks;
mod migration;
mod platter;
mod power_loss;
mod stage;
mod storage;
mod worker;

use crate::args::DiskWorkerArgs;
use crate::checks::Check;
use std::process::ExitCode;

/// The checks of the disk, by name, in the order of the table.
pub(crate) const CHECKS: [(&str, Check); 7] = [
    ("power-loss", |args| Box::pin(power_loss::rows(args))),
    ("disk-full", |args| Box::pin(storage::full(args))),
    ("disk-errors", |args| Box::pin(storage::single_faults(args))),
    ("disk-read-only", |args| Box::pin(storage::read_only_start(args))),
    ("disk-locked", |args| Box::pin(locks::rows(args))),
    ("disk-sync", |args| Box::pin(figures::rows(args))),
    ("disk-migration", |args| Box::pin(migration::rows(args))),
];

/// The part of a worker.
pub(crate) fn worker_main(args: &DiskWorkerArgs) -> ExitCode {
    let DiskWorkerArgs { folder, steps } = args;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(worker::work(folder, steps));
    ExitCode::SUCCESS
}
