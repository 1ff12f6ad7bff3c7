//! `claviger account remove`: gone with its secret, so it asks first.

use super::{find, words};
use crate::context::Context;
use crate::error::CliError;
use claviger_domain::id::AccountId;
use serde::Serialize;

/// What a removal did.
#[derive(Debug, Serialize)]
struct Removed {
    /// The account that is gone.
    removed: i64,
}

/// Removes an account once a person, or `--yes`, agreed.
pub async fn run(context: &Context, id: AccountId, yes: bool) -> Result<(), CliError> {
    let admin = context.admin().await?;
    let account = find(&*admin, id).await?;
    let name = words::short(&account);
    if !yes && !context.confirm(&format!("remove {name}, and its secret?"))? {
        return Err(
            CliError::refused(format!("account {id} was not removed: nobody agreed")).hint(format!("claviger account remove {id} --yes"))
        );
    }
    admin.account_remove(id).await?;
    context.output.data(&Removed { removed: id.0 }, || format!("removed {name}"))
}
