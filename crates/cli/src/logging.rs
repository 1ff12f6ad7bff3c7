//! Where logs go: stderr, never stdout; how much, from flag, environment or configuration.

use crate::context::Context;
use crate::error::CliError;
use tracing_subscriber::EnvFilter;

/// Who logs; decides how much where nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A server tells what it does.
    Server,
    /// A command tells only what went wrong.
    Command,
}

/// Starts logging. `-v` goes before `CLAVIGER_LOG`, which goes before `[log] level`; a configuration that cannot be read is
/// left for the command to report.
pub fn start(context: &Context, role: Role) -> Result<(), CliError> {
    let configured = || context.config().ok().map(|config| config.log_level.value);
    let text = match (context.global.verbose, &context.env.log, role) {
        (2.., _, _) => "trace".to_owned(),
        (1, _, _) => "debug".to_owned(),
        (0, Some(text), _) => text.clone(),
        (0, None, Role::Server) => configured().unwrap_or_else(|| "info".to_owned()),
        (0, None, Role::Command) => "error".to_owned(),
    };
    let filter = EnvFilter::builder()
        .parse(&text)
        .map_err(|error| CliError::usage(format!("CLAVIGER_LOG {text:?} is not a log filter: {error}")).hint("export CLAVIGER_LOG=info"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are not compiled in; asking for them on a terminal would panic.
        .with_ansi(false)
        .with_target(false)
        .try_init()
        .map_err(|_twice| CliError::failed("logging was started twice"))
}
