//! Whether a recovery kit opens the vault.

use super::Finding;
use crate::context::Context;
use crate::error::CliError;
use crate::root_key::{Asking, KeySources};
use crate::wire_up;
use claviger_admin::time_text;
use claviger_store::{KitState, SqliteStore, Store};
use std::sync::Arc;

/// Looks into the vault itself, also beside a server; nobody is asked for a passphrase. Nothing where the vault does not open,
/// which is said elsewhere.
pub async fn look(context: &Context) -> Option<Finding> {
    state(context).await.ok().map(finding)
}

async fn state(context: &Context) -> Result<KitState, CliError> {
    let root = KeySources::of(context, Asking::Nobody).key().await?;
    let (home, clock) = (context.paths.home.clone(), Arc::clone(&context.clock));
    let store = wire_up::blocking(move || SqliteStore::open(&home, &root, &*clock)).await??;
    let status = store.seal_status().await;
    store.close().await?;
    Ok(status?.kit)
}

fn finding(state: KitState) -> Finding {
    const CHECK: &str = "recovery kit";
    match state {
        KitState::Missing => {
            Finding::ok(CHECK, "none was made: whoever loses the key loses the vault (to make one: claviger seal kit FILE)")
        }
        KitState::Current { made_at } => Finding::ok(
            CHECK,
            format!("the one of {} opens the vault (to prove it: claviger seal check-kit FILE)", time_text::format(made_at)),
        ),
        KitState::Outdated { made_at } => {
            let detail = format!("the one of {} opens nothing any more, since the vault was sealed anew", time_text::format(made_at));
            Finding::warn(CHECK, detail, "claviger seal kit FILE")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;
    use claviger_domain::time::Timestamp;

    #[test]
    fn only_an_outdated_kit_deserves_a_look() {
        let made_at = Timestamp::from_secs(1_700_000_000);
        let verdicts =
            [KitState::Missing, KitState::Current { made_at }, KitState::Outdated { made_at }].map(|state| finding(state).verdict);
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Ok, Verdict::Warn]);
    }
}
