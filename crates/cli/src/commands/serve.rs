//! `claviger serve`: serves an initialised vault and asks nothing.

use crate::args::ServeArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::server::{Server, ServerOptions};
use crate::{admin_socket, detach};
use claviger_store::vault_exists;

/// Runs the command. Prints one line once requests are answered.
pub async fn run(context: &Context, args: ServeArgs) -> Result<(), CliError> {
    if args.detached {
        detach::leave_session()?;
    }
    let home = &context.paths.home;
    if !vault_exists(home) {
        return Err(CliError::not_found(format!("there is no vault at {}", home.display())).hint("claviger init"));
    }
    let log = args.detached.then(|| context.paths.log_file.clone());
    let server = Server::prepare(context, ServerOptions { listen: args.listen, log, ..ServerOptions::default() }).await?;
    let facts = server.facts().clone();
    server.run(|| ready(context, &facts)).await
}

/// The one line.
fn ready(context: &Context, facts: &admin_socket::ServerFacts) -> Result<(), CliError> {
    tracing::info!(listen = %facts.listen, pid = facts.pid, "serving");
    context.output.event(facts, || format!("ready: http://{} (pid {})", facts.listen, facts.pid))
}
