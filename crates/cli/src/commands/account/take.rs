//! `claviger account take`: a login becomes Claviger's to refresh: one that another tool keeps, or one in quarantine.

use super::{find, words};
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountTaken, AccountView, StandingView, TakeOutcome};
use claviger_domain::id::AccountId;

/// Takes an account over once a person, or `--yes`, agreed.
pub async fn run(context: &Context, id: AccountId, yes: bool) -> Result<(), CliError> {
    let admin = context.admin().await?;
    let account = find(&*admin, id).await?;
    let name = words::short(&account);
    if let Some((warning, question)) = question(&account, &name).filter(|_| !yes) {
        context.output.note(&warning);
        if !context.confirm(&question)? {
            return Err(
                CliError::refused(format!("account {id} was not taken: nobody agreed")).hint(format!("claviger account take {id} --yes"))
            );
        }
    }
    let taken = admin.account_take(id).await?;
    context.output.data(&taken, || told(&taken, &name))
}

/// What is to be known before, and what is asked; nothing where nothing can be lost.
fn question(account: &AccountView, name: &str) -> Option<(String, String)> {
    let from = account.follows.as_ref().or(account.notice.as_ref());
    if let Some(path) = from {
        let warning = format!(
            "from then on Claviger refreshes this login, and its tool must not, or its provider ends it for both. Close every running session of the tool first. Its login is in: {}",
            words::tidy(path)
        );
        return Some((warning, format!("take {name}: is the tool closed?")));
    }
    may_be_quarantined(account).then(|| {
        let warning = "if another copy of this vault refreshes this login too, its provider ends the login for both";
        (warning.to_owned(), format!("take {name}: is this the copy in use?"))
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

fn told(taken: &AccountTaken, name: &str) -> String {
    match taken.outcome {
        TakeOutcome::Taken => format!("took {name}: it is refreshed here again"),
        TakeOutcome::TakenOver => {
            let mut lines = vec![format!("took {name}: it is refreshed here from now on. So that its tool no longer does:")];
            lines.extend((1..).zip(&taken.steps).map(|(number, step)| format!("  {number}. {}", words::tidy(step))));
            lines.join("\n")
        }
        TakeOutcome::NotQuarantined => format!("{name} is neither in quarantine nor kept by another tool: there was nothing to do"),
    }
}
