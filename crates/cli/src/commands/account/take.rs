//! `claviger account take`: a person says that this copy of the vault is the one in use.

use super::{find, words};
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountView, StandingView, TakeOutcome};
use claviger_domain::id::AccountId;

/// Ends the quarantine of an account once a person, or `--yes`, agreed.
pub async fn run(context: &Context, id: AccountId, yes: bool) -> Result<(), CliError> {
    let admin = context.admin().await?;
    let account = find(&*admin, id).await?;
    let name = words::short(&account);
    if may_be_quarantined(&account) && !yes {
        context.output.note("if another copy of this vault refreshes this login too, its provider ends the login for both");
        if !context.confirm(&format!("take {name}: is this the copy in use?"))? {
            return Err(
                CliError::refused(format!("account {id} was not taken: nobody agreed")).hint(format!("claviger account take {id} --yes"))
            );
        }
    }
    let taken = admin.account_take(id).await?;
    context.output.data(&taken, || match taken.outcome {
        TakeOutcome::Taken => format!("took {name}: it is refreshed here again"),
        TakeOutcome::NotQuarantined => format!("{name} is not in quarantine: there was nothing to do"),
    })
}

/// Of several things that keep an account from serving its standing tells one, and a quarantine the last of them.
fn may_be_quarantined(account: &AccountView) -> bool {
    match account.standing {
        StandingView::Active => false,
        StandingView::Quarantined { .. }
        | StandingView::Disabled { .. }
        | StandingView::NeedsLogin { .. }
        | StandingView::OriginChanged
        | StandingView::Damaged { .. } => true,
    }
}
