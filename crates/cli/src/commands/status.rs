//! `claviger status`: whether a server runs and how the providers stand.

use crate::admin_socket::{self, ServerFacts};
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
    #[serde(flatten)]
    status: StatusView,
}

/// Runs the command. Without a running server the vault itself is asked.
pub async fn run(context: &Context, _args: StatusArgs) -> Result<(), CliError> {
    let shown = match admin_socket::connect(&context.paths.socket).await? {
        Some(client) => {
            let full = client.server_status().await?;
            Shown { running: true, server: Some(full.server), status: full.status }
        }
        None => Shown { running: false, server: None, status: context.admin().await?.status().await? },
    };
    context.output.data(&shown, || text(context, &shown))
}

fn text(context: &Context, shown: &Shown) -> String {
    let Shown { server, status, .. } = shown;
    let mut text = match server {
        Some(server) => {
            let since = time_text::format(status.started_at);
            format!("running   http://{} (pid {}, since {since}, version {})\n", server.listen, server.pid, status.version)
        }
        None => "running   no (claviger up -d)\n".to_owned(),
    };
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<10}{value}").expect("writing to a String never fails");
    };
    line("home", context.paths.home.display().to_string());
    line("keys", format!("{} active", status.keys_active));
    if server.is_some() {
        line("requests", format!("{} in flight, {} since the start", status.requests_in_flight, status.requests_total));
        line("refreshes", status.refreshes_total.to_string());
    }
    if status.providers.is_empty() {
        line("accounts", "none (claviger login PROVIDER --with-key)".to_owned());
    } else {
        text.push('\n');
        text.push_str(&providers(status));
    }
    for fault in &status.faults {
        writeln!(text, "fault: {}: {}", fault.row, fault.why).expect("writing to a String never fails");
    }
    text
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
