//! `claviger ps`: virtual keys in use and the accounts that serve them.

use crate::admin_socket;
use crate::args::PsArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Table;
use claviger_admin::{Admin, ProcessList, time_text};

/// Runs the command.
pub async fn run(context: &Context, _args: PsArgs) -> Result<(), CliError> {
    let list = if let Some(client) = admin_socket::connect(&context.paths.socket).await? {
        client.processes().await?
    } else {
        context.output.note("no server runs\nhint: claviger up -d");
        ProcessList::default()
    };
    context.output.data(&list, || table(&list))
}

fn table(list: &ProcessList) -> String {
    let mut table = Table::new(&["KEY", "LABEL", "IN FLIGHT", "REQUESTS", "PROVIDER", "ACCOUNT", "LAST USED"]);
    for used in &list.keys {
        table.row([
            used.key.clone(),
            used.label.clone().unwrap_or_default(),
            used.in_flight.to_string(),
            used.requests.to_string(),
            used.provider.clone().unwrap_or_default(),
            used.account.map(|account| account.to_string()).unwrap_or_default(),
            used.used_at.map(time_text::format).unwrap_or_default(),
        ]);
    }
    table.render()
}
