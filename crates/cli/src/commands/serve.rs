//! `claviger serve`: serves an initialised vault and asks nothing.

use crate::args::ServeArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::server::{Server, ServerOptions};
use crate::wire_up::Overrides;
use crate::{admin_socket, detach};
use claviger_store::vault_exists;
use serde::Serialize;

/// Runs the command. Prints one line once requests are answered.
pub async fn run(context: &Context, args: ServeArgs) -> Result<(), CliError> {
    if args.detached {
        detach::leave_session()?;
    }
    let home = &context.paths.home;
    if !vault_exists(home) {
        return Err(CliError::not_found(format!("there is no vault at {}", home.display())).hint("claviger init"));
    }
    let over = Overrides::read(args.listen, &args.api_keys)?;
    let log = args.detached.then(|| context.paths.log_file.clone());
    let server = Server::prepare(context, ServerOptions { over, log, ..ServerOptions::default() }).await?;
    let facts = server.facts().clone();
    let sealed = server.sealed();
    server.run(|| ready(context, &facts, sealed)).await
}

/// What the one line says as JSON.
#[derive(Serialize)]
struct Ready<'a> {
    #[serde(flatten)]
    server: &'a admin_socket::ServerFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<admin_socket::SealedView>,
}

/// The one line.
fn ready(context: &Context, server: &admin_socket::ServerFacts, sealed: Option<admin_socket::SealedView>) -> Result<(), CliError> {
    tracing::info!(listen = %server.listen, pid = server.pid, "serving");
    let ready = Ready { server, sealed };
    context.output.event(&ready, || match &ready.sealed {
        None => format!("ready: http://{} (pid {})", server.listen, server.pid),
        Some(sealed) => format!("sealed: http://{} (pid {}): {}; {}", server.listen, server.pid, sealed.why, sealed.hint),
    })
}
