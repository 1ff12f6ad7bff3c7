//! `claviger seal status`: what opens the vault, whether a recovery kit does, and which data keys there are.

use super::{DataKeyView, kind_word, needs};
use crate::commands::account::words::Lines;
use crate::commands::when;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Table;
use claviger_admin::time_text;
use claviger_domain::time::Timestamp;
use claviger_store::{KitState, SealKind, SealStatus, Store};
use serde::Serialize;
use std::path::PathBuf;

/// What the command prints with `--json`.
#[derive(Debug, Serialize)]
struct Shown {
    seal: &'static str,
    key_file: Option<PathBuf>,
    keyring_entry: Option<String>,
    cost: Option<CostView>,
    #[serde(with = "time_text")]
    created_at: Timestamp,
    #[serde(with = "time_text::option")]
    changed_at: Option<Timestamp>,
    kit: KitView,
    data_keys: Vec<DataKeyView>,
    rotation_unfinished: bool,
}

/// What a guess at the passphrase costs.
#[derive(Debug, Serialize)]
struct CostView {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The recovery kit.
#[derive(Debug, Serialize)]
struct KitView {
    /// `missing`, `current` or `outdated`.
    state: &'static str,
    #[serde(with = "time_text::option")]
    made_at: Option<Timestamp>,
}

/// Runs the command.
pub async fn run(context: &Context) -> Result<(), CliError> {
    let store = super::open(context).await?;
    let status = store.seal_status().await?;
    store.close().await?;
    let shown = shown(context, status);
    if !context.output.is_json() {
        if shown.rotation_unfinished {
            context.output.note("hint: claviger seal rotate ends the rotation that was begun");
        }
        if shown.kit.state != "current" {
            context.output.note("hint: claviger seal kit FILE makes a recovery kit");
        }
    }
    context.output.data(&shown, || text(&shown, context.clock.now()))
}

fn shown(context: &Context, status: SealStatus) -> Shown {
    let SealStatus { info, cost, created_at, changed_at, kit, data_keys, rotation_unfinished } = status;
    let kit = match kit {
        KitState::Missing => KitView { state: "missing", made_at: None },
        KitState::Current { made_at } => KitView { state: "current", made_at: Some(made_at) },
        KitState::Outdated { made_at } => KitView { state: "outdated", made_at: Some(made_at) },
    };
    Shown {
        seal: kind_word(info.kind),
        key_file: (info.kind == SealKind::KeyFile).then(|| context.paths.master_key.clone()),
        keyring_entry: info.keyring_entry,
        cost: cost.map(|cost| CostView { memory_kib: cost.memory_kib, passes: cost.passes, lanes: cost.lanes }),
        created_at,
        changed_at,
        kit,
        data_keys: data_keys.into_iter().map(DataKeyView::from).collect(),
        rotation_unfinished,
    }
}

fn text(shown: &Shown, now: Timestamp) -> String {
    let Shown { seal, key_file, keyring_entry, cost, created_at, changed_at, kit, data_keys, rotation_unfinished } = shown;
    let mut lines = Lines::titled(&format!("sealed with: {seal}"));
    lines.maybe("key file", key_file.as_ref().map(|path| path.display().to_string()).as_deref());
    lines.maybe("entry", keyring_entry.as_deref());
    let argon2 = |cost: &CostView| format!("Argon2id, {} MiB, {} passes, {} lanes", cost.memory_kib / 1024, cost.passes, cost.lanes);
    lines.maybe("a guess", cost.as_ref().map(argon2).as_deref());
    lines.line("created", &when::both(*created_at, now));
    lines.line("changed", &changed_at.map_or_else(|| "never".to_owned(), |at| when::both(at, now)));
    let made = kit.made_at.map(|at| format!(", made {}", when::both(at, now))).unwrap_or_default();
    let opens = match kit.state {
        "outdated" => "; the seal was changed since: it opens nothing any more",
        _ => "",
    };
    lines.line("kit", &format!("{}{made}{opens}", kit.state));
    lines.line("rotation", if *rotation_unfinished { "begun and not ended" } else { "none under way" });
    let mut table = Table::new(&["DATA KEY", "CREATED", "SEALS"]);
    for key in data_keys {
        table.row([key.version.to_string(), when::relative(key.created_at, now), needs(key)]);
    }
    format!("{}\n{}", lines.into_text(), table.render())
}
