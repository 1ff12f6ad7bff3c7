//! The binary: reads what was typed, prepares the process, runs one command, and turns its end into an exit code.
#![expect(unreachable_pub, reason = "a binary has no outside; `pub` marks what its modules offer one another")]

mod admin_socket;
mod adopt;
mod args;
mod commands;
mod config;
mod context;
#[cfg(feature = "demo")]
mod demo;
mod detach;
mod env;
mod error;
mod event_hook;
mod hardening;
mod hex;
mod key_file;
mod kit;
mod logging;
mod os_keyring;
mod output;
mod port;
mod root_key;
mod sealed;
mod server;
mod values;
mod welcome;
mod wire_up;

use args::{Cli, Command};
use clap::Parser;
use context::Context;
use error::CliError;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    hardening::apply();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return mistyped(&error),
    };
    let output = Output::new(cli.global.json);
    let logs_in = matches!(cli.command, Command::Login(_));
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_said() => ExitCode::from(error.exit_code()),
        Err(error) => failed(output, logs_in, &error),
    }
}

/// Says why a command failed: a login with `--json` as the last of its events, every other one as a document.
fn failed(output: Output, logs_in: bool, error: &CliError) -> ExitCode {
    if logs_in && output.is_json() {
        commands::login::tell_failure(output, error);
    } else {
        output.error(error);
    }
    ExitCode::from(error.exit_code())
}

fn start(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    let context = Context::new(env::Env::read(), global)?;
    let serves = matches!(command, Command::Up(_) | Command::Serve(_));
    logging::start(&context, if serves { logging::Role::Server } else { logging::Role::Command })?;
    // Commands live for milliseconds and need no second thread.
    let mut runtime = if serves { tokio::runtime::Builder::new_multi_thread() } else { tokio::runtime::Builder::new_current_thread() };
    let runtime = runtime.enable_all().build().map_err(|error| CliError::failed(format!("the runtime cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let result = commands::run(&context, command).await;
        context.close().await;
        result
    });
    // A prompt or a slow resolver on a helper thread must not hold the end of the process.
    runtime.shutdown_background();
    result
}

/// Help and version go to stdout and are a success; what was mistyped is a usage error, as JSON where JSON was asked for.
fn mistyped(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let rendered = error.render().to_string();
        let message = rendered.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let error = CliError::usage(message).hint("claviger --help");
        let logs_in = std::env::args_os().any(|argument| argument == "login");
        return failed(Output::new(true), logs_in, &error);
    }
    // A reader that went away is no error.
    drop(error.print());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
