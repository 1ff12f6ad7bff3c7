//! `claviger seal rotate`: a new data key, under which everything is sealed anew, beside a server that may run.

use super::{DataKeyView, needs};
use crate::context::Context;
use crate::error::CliError;
use claviger_store::{Rotated, SqliteStore, Store};
use serde::Serialize;
use std::fmt::Write as _;

/// What the command prints with `--json`.
#[derive(Debug, Serialize)]
struct Shown {
    version: u32,
    resumed: bool,
    resealed: u64,
    retired: Vec<u32>,
    kept: Vec<DataKeyView>,
    unopened: Vec<String>,
}

impl From<Rotated> for Shown {
    fn from(rotated: Rotated) -> Self {
        let Rotated { version, resumed, resealed, retired, kept, unopened } = rotated;
        let (kept, unopened) = (kept.into_iter().map(DataKeyView::from).collect(), unopened.iter().map(ToString::to_string).collect());
        Self { version, resumed, resealed, retired, kept, unopened }
    }
}

/// Runs the command.
pub async fn run(context: &Context) -> Result<(), CliError> {
    let store = super::open(context).await?;
    let done = rotate(context, &store).await;
    store.close().await?;
    let shown = done?;
    if !shown.unopened.is_empty() && !context.output.is_json() {
        context.output.note("hint: claviger doctor says what helps for fields that do not open");
    }
    context.output.data(&shown, || text(&shown))
}

async fn rotate(context: &Context, store: &SqliteStore) -> Result<Shown, CliError> {
    super::audit(context, store, "seal.rotate", "data key".to_owned()).await?;
    Ok(Shown::from(store.data_key_rotate(context.clock.now()).await?))
}

fn text(shown: &Shown) -> String {
    let Shown { version, resumed, resealed, retired, kept, unopened } = shown;
    let ended = if *resumed { " (a rotation that had been begun is ended)" } else { "" };
    let mut text = format!("data key  {version} seals from now on{ended}\nsealed    {resealed} fields anew\n");
    if !retired.is_empty() {
        let versions: Vec<String> = retired.iter().map(ToString::to_string).collect();
        writeln!(text, "deleted   data key {}", versions.join(", ")).expect("writing to a String never fails");
    }
    for key in kept {
        writeln!(text, "kept      data key {}: {}", key.version, needs(key)).expect("writing to a String never fails");
    }
    for field in unopened {
        writeln!(text, "left      {field}").expect("writing to a String never fails");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::time::Timestamp;

    #[test]
    fn what_was_done_is_said_line_by_line() {
        let kept = vec![DataKeyView { version: 4, created_at: Timestamp(0), fields: 1, slots: 1, refreshes: 2 }];
        let unopened = vec!["grants 2: access_token was damaged".to_owned()];
        let shown = Shown { version: 5, resumed: true, resealed: 83, retired: vec![1, 3], kept, unopened };
        insta::assert_snapshot!(text(&shown), @r"
        data key  5 seals from now on (a rotation that had been begun is ended)
        sealed    83 fields anew
        deleted   data key 1, 3
        kept      data key 4: 1 field, 1 answer in a spill slot, 2 open refreshes
        left      grants 2: access_token was damaged
        ");
    }
}
