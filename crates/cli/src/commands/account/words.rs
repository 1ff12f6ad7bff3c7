//! Accounts in words, for people.

use super::super::when;
use crate::output::printable;
use claviger_admin::{AccountList, AccountView, BlockView, IdentityView, SourceWord, StandingView, time_text};
use claviger_domain::identity::Identity;
use claviger_domain::time::Timestamp;
use std::fmt::Write as _;

/// Width of the names in front of values, so that values align.
const NAME_WIDTH: usize = 12;

/// The scope of a block of an account as a whole.
const WHOLE: &str = "account";

/// A title and aligned `name  value` lines below it.
#[derive(Debug)]
pub struct Lines(String);

impl Lines {
    /// With its title.
    pub fn titled(title: &str) -> Self {
        Self(format!("{}\n", printable(title)))
    }

    /// Adds a line.
    pub fn line(&mut self, name: &str, value: &str) {
        writeln!(self.0, "  {name:NAME_WIDTH$}  {}", tidy(value)).expect("writing to a String never fails");
    }

    /// Adds a line where there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The best short name of an identity, with its organisation where it has one.
pub fn identity(view: &IdentityView) -> Option<String> {
    let identity = Identity::from(view.clone());
    let name = identity.display()?.to_owned();
    let organisation = identity.org_name.or(identity.org_id).filter(|organisation| *organisation != name);
    Some(organisation.map_or(name.clone(), |organisation| format!("{name} ({organisation})")))
}

/// The organisation of an identity: its name and its id.
pub fn organisation(identity: &IdentityView) -> Option<String> {
    match (&identity.org_name, &identity.org_id) {
        (Some(name), Some(id)) => Some(format!("{name} ({id})")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

/// An account in half a line: `account 3: anthropic, u@example.com`.
pub fn short(account: &AccountView) -> String {
    let name = identity(&account.identity).or_else(|| account.label.clone());
    let name = name.map(|name| format!(", {name}")).unwrap_or_default();
    tidy(&format!("account {}: {}{name}", account.id, account.provider))
}

/// Text from elsewhere in one line, without control characters.
pub fn tidy(text: &str) -> String {
    printable(text).replace('\n', " ")
}

/// Whether an account can serve, in a few words for a table.
pub fn standing(account: &AccountView, now: Timestamp) -> String {
    let state = match &account.standing {
        StandingView::Active => "active",
        StandingView::Disabled { .. } => "disabled",
        StandingView::NeedsLogin { .. } => "needs login",
        StandingView::Quarantined { .. } => "quarantined",
        StandingView::OriginChanged => "origin changed",
        StandingView::Damaged { .. } => "damaged",
    };
    let open = account.blocks.iter().filter(|block| block.until > now && serves(&account.standing));
    // A block of the whole account says more than any of a part.
    let latest = open.max_by_key(|block| (block.scope == WHOLE, block.until));
    match latest {
        Some(block) if block.scope == WHOLE => format!("blocked, ends {}", when::relative(block.until, now)),
        Some(block) => format!("{state}, {} blocked, ends {}", block.scope, when::relative(block.until, now)),
        None => state.to_owned(),
    }
}

/// Whether an account serves while nothing sets it aside.
fn serves(standing: &StandingView) -> bool {
    matches!(standing, StandingView::Active | StandingView::Quarantined { .. })
}

/// Whether an account can serve, with the cause.
pub fn standing_in_full(account: &AccountView) -> String {
    match &account.standing {
        StandingView::Active => "active".to_owned(),
        StandingView::Disabled { cause } => format!("disabled: {cause}"),
        StandingView::NeedsLogin { cause } => format!("needs login: {cause}"),
        StandingView::Quarantined { since } => format!(
            "in quarantine since {}: this vault was put back from an older copy; its token serves while it lives, and is not refreshed",
            time_text::format(*since)
        ),
        StandingView::OriginChanged => format!("the address of {} is not the one that this account was stored for", account.provider),
        StandingView::Damaged { cause } => format!("damaged: {cause}"),
    }
}

/// What to type, or to do, so that an account serves again; nothing for one that does.
pub fn remedies(account: &AccountView, now: Timestamp) -> Vec<String> {
    let id = account.id;
    let mut remedies = Vec::new();
    match &account.standing {
        StandingView::Active => {}
        StandingView::Disabled { .. } => remedies.push(format!("claviger account enable {id}")),
        StandingView::NeedsLogin { .. } => remedies.push(login_again(account)),
        StandingView::Quarantined { .. } => remedies.push(format!("claviger account take {id}, if this is the copy in use")),
        StandingView::OriginChanged => {
            remedies.push("claviger config show --origin".to_owned());
            remedies.push(format!("claviger account rebind {id}, if the new address is meant"));
        }
        StandingView::Damaged { .. } => remedies.push(format!("claviger account remove {id}, then add it again")),
    }
    if account.blocks.iter().any(|block| block.until > now) {
        remedies.push(format!("claviger account unblock {id}"));
    }
    remedies
}

fn login_again(account: &AccountView) -> String {
    let provider = &account.provider;
    match &account.follows {
        Some(path) => format!("log in with the tool that keeps {path}: it is read again on change"),
        None if account.kind == "api_key" => format!("claviger login {provider} --with-key"),
        None => format!("claviger account add {provider} --from-json FILE"),
    }
}

/// A block: what, until when, and why.
pub fn block(block: &BlockView, now: Timestamp) -> String {
    let guess = if block.guessed { ", a guess" } else { "" };
    format!("{} until {}{guess}: {}", block.scope, when::both(block.until, now), block.reason)
}

/// How an account came here.
pub fn source(source: SourceWord) -> &'static str {
    match source {
        SourceWord::Login => "login",
        SourceWord::Imported => "imported",
    }
}

/// The grant of an account, and who shares it.
pub fn grant(account: &AccountView, list: &AccountList) -> String {
    let others = list.accounts.iter().filter(|other| other.grant == account.grant && other.id != account.id);
    let others: Vec<String> = others.map(|other| other.id.to_string()).collect();
    let shared = if others.is_empty() { String::new() } else { format!(", shared with account {}", others.join(", ")) };
    format!("{}, revision {}{shared}", account.grant, account.grant_revision)
}
