//! One file a command: each gathers what it needs, asks the control plane, and prints.

mod account;
mod backup;
mod completions;
mod config;
mod doctor;
mod down;
mod events;
pub mod import;
pub mod init;
mod key;
pub mod login;
mod logout;
mod logs;
mod provider;
mod ps;
mod restore;
mod seal;
mod serve;
mod status;
mod token;
mod up;
mod usage;
mod when;

use crate::args::Command;
use crate::context::Context;
use crate::error::CliError;

/// Runs a command to its end.
pub async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Up(args) => Box::pin(up::run(context, args)).await,
        Command::Down(args) => Box::pin(down::run(context, args)).await,
        Command::Logs(args) => Box::pin(logs::run(context, args)).await,
        Command::Ps(args) => Box::pin(ps::run(context, args)).await,
        Command::Status(args) => Box::pin(status::run(context, args)).await,
        Command::Init(args) => Box::pin(init::run(context, args)).await,
        Command::Serve(args) => Box::pin(serve::run(context, args)).await,
        Command::Login(args) => Box::pin(login::run(context, args)).await,
        Command::Logout(args) => Box::pin(logout::run(context, args)).await,
        Command::Account(args) => Box::pin(account::run(context, args)).await,
        Command::Import(args) => Box::pin(import::run(context, args)).await,
        Command::Token(args) => Box::pin(token::run(context, args)).await,
        Command::Events(args) => Box::pin(events::run(context, args)).await,
        Command::Usage(args) => Box::pin(usage::run(context, args)).await,
        Command::Key(args) => Box::pin(key::run(context, args)).await,
        Command::Config(args) => Box::pin(config::run(context, args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(context, args)).await,
        Command::Backup(args) => Box::pin(backup::run(context, args)).await,
        Command::Restore(args) => Box::pin(restore::run(context, args)).await,
        Command::Seal(args) => Box::pin(seal::run(context, args)).await,
        Command::Completions(args) => Box::pin(completions::run(context, args)).await,
    }
}
