//! `claviger up`: sets up if needed, follows logins that somebody agreed to, serves, and says what to do next.

use super::init;
use crate::admin_socket::StartTurn;
use crate::adopt::{self, Consent};
use crate::args::{SealKind, UpArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::server::{Server, ServerOptions};
use crate::welcome::{SealedWelcome, Welcome};
use crate::wire_up::{self, Overrides};
use crate::{admin_socket, detach};
use claviger_store::vault_exists;

/// Runs the command.
pub async fn run(context: &Context, args: UpArgs) -> Result<(), CliError> {
    if args.demo {
        return demo(context, args).await;
    }
    if let Some(client) = admin_socket::connect(&context.paths.socket).await? {
        return runs_already(context, &client, &args).await;
    }
    let over = Overrides::read(args.listen, &args.api_keys)?;
    let loaded = wire_up::load_settings(&context.paths, &context.env, &over)?;
    let turn = StartTurn::wait(&context.paths.socket).await?;
    if let Some(client) = admin_socket::connect(&context.paths.socket).await? {
        return runs_already(context, &client, &args).await;
    }
    if !vault_exists(&context.paths.home) {
        context.output.note(init::create(context, SealKind::Keyfile).await?.text());
    }
    let consent = consent(&args);
    if args.detach {
        let client = detach::start(context, &serve_arguments(&args)).await?;
        drop(turn);
        let status = client.server_status().await?;
        let facts = status.server;
        if let Some(sealed) = status.sealed {
            let welcome = SealedWelcome::new(facts, sealed);
            return context.output.data(&welcome, || welcome.text());
        }
        let catalogue = &loaded.pool.catalogue;
        let adopted = adopt::adopt(context, &client, catalogue, consent).await?;
        let welcome = Welcome::gather(&client, facts, catalogue, adopted).await?;
        return context.output.data(&welcome, || welcome.text());
    }
    let server = Server::prepare(context, ServerOptions { over, ..ServerOptions::default() }).await?;
    drop(turn);
    if let Some(sealed) = server.sealed() {
        let welcome = SealedWelcome::new(server.facts().clone(), sealed);
        return server.run(|| context.output.data(&welcome, || welcome.text())).await;
    }
    let catalogue = &loaded.pool.catalogue;
    let adopted = adopt::adopt(context, server.admin()?, catalogue, consent).await?;
    let welcome = Welcome::gather(server.admin()?, server.facts().clone(), catalogue, adopted).await?;
    server.run(|| context.output.data(&welcome, || welcome.text())).await
}

#[cfg(feature = "demo")]
async fn demo(context: &Context, args: UpArgs) -> Result<(), CliError> {
    crate::demo::run(context, args).await
}

#[cfg(not(feature = "demo"))]
#[expect(clippy::unused_async, reason = "the shape of the function that it stands for")]
async fn demo(_context: &Context, _args: UpArgs) -> Result<(), CliError> {
    Err(CliError::usage("this program was built without the demo").hint("claviger up"))
}

fn consent(args: &UpArgs) -> Consent {
    match (args.yes, args.no_adopt) {
        (true, _) => Consent::Given,
        (false, true) => Consent::Refused,
        (false, false) => Consent::Ask,
    }
}

fn serve_arguments(args: &UpArgs) -> Vec<String> {
    let mut arguments = vec!["serve".to_owned(), "--detached".to_owned()];
    if let Some(listen) = args.listen {
        arguments.push(format!("--listen={listen}"));
    }
    arguments.extend(args.api_keys.iter().map(|key| format!("--api-key={key}")));
    arguments
}

/// A second `up -d` finds what it wants; a second `up` cannot serve where another does.
async fn runs_already(context: &Context, client: &admin_socket::AdminClient, args: &UpArgs) -> Result<(), CliError> {
    let status = client.server_status().await?;
    let facts = status.server;
    let message = format!("a server runs already: http://{} (pid {})", facts.listen, facts.pid);
    if !args.detach {
        return Err(CliError::refused(message).hint("claviger status, or claviger down"));
    }
    context.output.note(&message);
    if let Some(sealed) = status.sealed {
        let welcome = SealedWelcome::new(facts, sealed);
        return context.output.data(&welcome, || welcome.text());
    }
    let loaded = wire_up::load_settings(&context.paths, &context.env, &Overrides::default())?;
    let adopted = adopt::adopt(context, client, &loaded.pool.catalogue, consent(args)).await?;
    let welcome = Welcome::gather(client, facts, &loaded.pool.catalogue, adopted).await?;
    context.output.data(&welcome, || welcome.text())
}
