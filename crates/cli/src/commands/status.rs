//! `claviger status`: whether a server runs and how the providers stand.

use crate::admin_socket::{self, SealedView, ServerFacts};
use crate::args::StatusArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Table;
use claviger_admin::{StatusView, time_text};
use serde::Serialize;
use std::fmt::Write as _;

/// What the command prints with `--json`.
#[derive(Serialize)]
struct Shown {
    running: bool,
    server: Option<ServerFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<SealedView>,
    #[serde(flatten)]
    status: Option<StatusView>,
}

/// Runs the command. Without a running server the vault itself is asked.
pub async fn run(context: &Context, _args: StatusArgs) -> Result<(), CliError> {
    let shown = match admin_socket::connect(&context.paths.socket).await? {
        Some(client) => {
            let full = client.server_status().await?;
            Shown { running: true, server: Some(full.server), sealed: full.sealed, status: full.status }
        }
        None => Shown { running: false, server: None, sealed: None, status: Some(context.admin().await?.status().await?) },
    };
    context.output.data(&shown, || text(context, &shown))
}

fn text(context: &Context, shown: &Shown) -> String {
    let Shown { server, sealed, status, .. } = shown;
    let mut text = match (server, status) {
        (Some(server), Some(status)) => {
            let since = time_text::format(status.started_at);
            format!("running   http://{} (pid {}, since {since}, version {})\n", server.listen, server.pid, status.version)
        }
        (Some(server), None) => format!("running   http://{} (pid {})\n", server.listen, server.pid),
        (None, _) => "running   no (claviger up -d)\n".to_owned(),
    };
    line(&mut text, "home", &context.paths.home.display().to_string());
    if let Some(sealed) = sealed {
        line(&mut text, "sealed", &format!("{} ({})", sealed.why, sealed.hint));
    }
    if let Some(status) = status {
        vault(&mut text, status, server.is_some());
    }
    text
}

fn vault(text: &mut String, status: &StatusView, runs: bool) {
    line(text, "keys", &format!("{} active", status.keys_active));
    if runs {
        line(text, "requests", &format!("{} in flight, {} since the start", status.requests_in_flight, status.requests_total));
        line(text, "refreshes", &status.refreshes_total.to_string());
    }
    if status.providers.is_empty() {
        line(text, "accounts", "none (claviger login PROVIDER)");
    } else {
        text.push('\n');
        text.push_str(&providers(status));
    }
    for why in &status.degraded {
        writeln!(text, "degraded: {why} (claviger account list)").expect("writing to a String never fails");
    }
    for warning in &status.warnings {
        writeln!(text, "warning: {warning}").expect("writing to a String never fails");
    }
    for fault in &status.faults {
        writeln!(text, "fault: {}: {}", fault.row, fault.why).expect("writing to a String never fails");
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name:<10}{value}").expect("writing to a String never fails");
}

fn providers(status: &StatusView) -> String {
    let mut table = Table::new(&["PROVIDER", "ACCOUNTS", "READY", "BLOCKED", "NEEDS LOGIN", "FREE AGAIN"]);
    for provider in &status.providers {
        table.row([
            provider.provider.clone(),
            provider.accounts.to_string(),
            provider.ready.to_string(),
            provider.blocked.to_string(),
            provider.needs_login.to_string(),
            provider.retry_at.map(time_text::format).unwrap_or_default(),
        ]);
    }
    table.render()
}
