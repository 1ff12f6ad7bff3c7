//! `claviger seal`: what the vault is sealed with, and how that is changed.

mod kit;
mod rewrap;
mod rotate;
mod status;

use crate::args::{SealArgs, SealCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::{admin_socket, root_key, wire_up};
use claviger_admin::Admin;
use claviger_domain::time::Timestamp;
use claviger_runtime::best_effort;
use claviger_store::{AuditEntry, DataKeyUse, RootKey, SealKind, SqliteStore, Store};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// Who did it, in the audit trail.
const ACTOR: &str = "cli";

/// Runs the command.
pub async fn run(context: &Context, args: SealArgs) -> Result<(), CliError> {
    match args.command {
        SealCommand::Status => status::run(context).await,
        SealCommand::Rotate => rotate::run(context).await,
        SealCommand::Rewrap(args) => rewrap::run(context, args).await,
        SealCommand::Kit(args) => kit::make(context, args).await,
        SealCommand::CheckKit(args) => kit::check(context, args).await,
    }
}

/// The vault itself, opened beside a server that may run: who changes the seal needs its key.
async fn open(context: &Context) -> Result<SqliteStore, CliError> {
    open_with(context, root_key::for_opening(context).await?).await
}

/// The vault itself, opened with this key.
async fn open_with(context: &Context, root: RootKey) -> Result<SqliteStore, CliError> {
    let (home, clock) = (context.paths.home.clone(), Arc::clone(&context.clock));
    Ok(wire_up::blocking(move || SqliteStore::open(&home, &root, &*clock)).await??)
}

/// Writes to the audit trail.
async fn audit(context: &Context, store: &SqliteStore, action: &str, subject: String) -> Result<(), CliError> {
    let entry = AuditEntry { at: context.clock.now(), action: action.to_owned(), subject, actor: ACTOR.to_owned() };
    Ok(store.audit_append(entry).await?)
}

/// Whether a server runs that has the vault open. It has met the newest data key then: under another seal it could not open it,
/// and would do nothing more.
async fn server_runs(context: &Context) -> Result<bool, CliError> {
    let Some(client) = admin_socket::connect(&context.paths.socket).await? else { return Ok(false) };
    if client.server_status().await?.status.is_none() {
        return Ok(false);
    }
    best_effort("have the server read the vault", client.account_list().await);
    Ok(true)
}

/// The word for a kind, as flags and JSON have it.
const fn kind_word(kind: SealKind) -> &'static str {
    match kind {
        SealKind::KeyFile => "keyfile",
        SealKind::Passphrase => "passphrase",
        SealKind::Keyring => "keyring",
    }
}

/// A data key, as JSON has it.
#[derive(Debug, Serialize)]
struct DataKeyView {
    version: u32,
    #[serde(with = "claviger_admin::time_text")]
    created_at: Timestamp,
    fields: u32,
    slots: u32,
    refreshes: u32,
}

impl From<DataKeyUse> for DataKeyView {
    fn from(key: DataKeyUse) -> Self {
        let DataKeyUse { version, created_at, fields, slots, refreshes } = key;
        Self { version, created_at, fields, slots, refreshes }
    }
}

/// What needs a data key, in words.
fn needs(key: &DataKeyView) -> String {
    let mut text = counted(key.fields, "field");
    for (count, what) in [(key.slots, "answer in a spill slot"), (key.refreshes, "open refresh")] {
        if count > 0 {
            write!(text, ", {}", counted(count, what)).expect("writing to a String never fails");
        }
    }
    text
}

fn counted(count: u32, what: &str) -> String {
    match (count, what) {
        (1, _) => format!("1 {what}"),
        (_, "answer in a spill slot") => format!("{count} answers in spill slots"),
        (_, "open refresh") => format!("{count} open refreshes"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_data_key_is_counted_in_words() {
        let key = |fields, slots, refreshes| DataKeyView { version: 1, created_at: Timestamp(0), fields, slots, refreshes };
        assert_eq!(needs(&key(0, 0, 0)), "0 fields");
        assert_eq!(needs(&key(1, 1, 1)), "1 field, 1 answer in a spill slot, 1 open refresh");
        assert_eq!(needs(&key(2, 2, 2)), "2 fields, 2 answers in spill slots, 2 open refreshes");
    }
}
