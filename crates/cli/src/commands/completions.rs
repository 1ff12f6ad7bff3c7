//! `claviger completions`: a script that completes commands and flags in a shell.

use crate::args::{Cli, CompletionsArgs};
use crate::context::Context;
use crate::error::CliError;
use clap::CommandFactory;
use serde::Serialize;

/// A completion script.
#[derive(Debug, Serialize)]
struct Script {
    /// The shell.
    shell: String,
    /// The script, for that shell to read.
    script: String,
}

/// Runs the command.
#[expect(clippy::unused_async, reason = "every command has this shape")]
pub async fn run(context: &Context, args: CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "claviger", &mut script);
    let script = String::from_utf8(script).map_err(|error| CliError::caused(&error))?;
    let script = Script { shell: args.shell.to_string(), script };
    context.output.data(&script, || script.script.clone())
}
