//! The command line.

use clap::{Args as Group, Parser, Subcommand};
use std::path::PathBuf;

/// Kills, stops, cuts off and crowds processes that share a vault, and prints what came of it.
#[derive(Debug, Clone, Parser)]
#[command(name = "claviger-proof")]
pub(crate) struct Args {
    /// The part of a worker, which the tool gives to copies of itself.
    #[command(subcommand)]
    pub(crate) command: Option<Role>,
    /// Five turns at each place (the default).
    #[arg(long, conflicts_with = "full")]
    pub(crate) short: bool,
    /// Two hundred turns at each place.
    #[arg(long)]
    pub(crate) full: bool,
    /// Turns at each place, whatever the form.
    #[arg(long, value_name = "N")]
    pub(crate) turns: Option<u32>,
    /// Only these checks.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only at these places of a refresh.
    #[arg(long, value_name = "SITE", num_args = 1.., value_delimiter = ',')]
    pub(crate) site: Vec<String>,
    /// Adds the rows to this file as well, as tests do.
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// What all choices follow from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Args {
    /// A number of turns by the form: of the short one, of the full one.
    pub(crate) fn turns(&self, short: u32, full: u32) -> u32 {
        self.turns.unwrap_or(if self.full { full } else { short })
    }

    /// Whether a place is to be looked at.
    pub(crate) fn wants_site(&self, site: &str) -> bool {
        self.site.is_empty() || self.site.iter().any(|wanted| wanted == site)
    }
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Role {
    /// A process that holds the vault open, and does what its standard input says.
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// A process on a disk that logs and fails; carries out steps.
    #[command(hide = true)]
    DiskWorker(DiskWorkerArgs),
}

/// What a worker is given.
#[derive(Debug, Clone, Group)]
pub(crate) struct WorkerArgs {
    /// The folder of the stage.
    #[arg(long)]
    pub(crate) stage: PathBuf,
    /// The virtual key of its requests.
    #[arg(long)]
    pub(crate) key: String,
    /// Dies at the next pass of this place.
    #[arg(long, value_name = "SITE")]
    pub(crate) kill: Option<String>,
    /// Stops at the next pass of this place.
    #[arg(long, value_name = "SITE")]
    pub(crate) stop: Option<String>,
    /// Passes of the place that go by before.
    #[arg(long, default_value_t = 0)]
    pub(crate) skip: u32,
}

/// What a worker on a failing disk is given.
#[derive(Debug, Clone, Group)]
pub(crate) struct DiskWorkerArgs {
    /// The folder with the disk and all that belongs to it.
    pub(crate) folder: PathBuf,
    /// What it does, one after the other.
    pub(crate) steps: Vec<String>,
}
