//! Accounts in words, for people.

use super::super::when;
use crate::output::printable;
use claviger_admin::{AccountList, AccountView, BlockView, IdentityView, OptionsView, SourceWord, StandingView, time_text};
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
        None => match account.login_ends_soon(now).filter(|_| account.standing == StandingView::Active) {
            Some(at) if at > now => format!("{state}, login ends {}", when::relative(at, now)),
            Some(_) => format!("{state}, login is over"),
            None => state.to_owned(),
        },
    }
}

/// What there is to say of the end of a login that is near or over.
pub fn login_end(account: &AccountView, now: Timestamp) -> Option<String> {
    let at = account.login_ends_soon(now).filter(|_| account.standing == StandingView::Active)?;
    let verb = if at > now { "ends" } else { "was to end" };
    Some(format!("its login {verb} on {}, however often it is refreshed", when::both(at, now)))
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
        StandingView::Active if login_end(account, now).is_some() => remedies.push(renew(account)),
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

/// The same account anew, before its login ends by itself.
fn renew(account: &AccountView) -> String {
    format!("claviger login {} --account {}", account.provider, account.id)
}

fn login_again(account: &AccountView) -> String {
    let provider = &account.provider;
    if matches!(account.source, SourceWord::Runtime | SourceWord::Config | SourceWord::Environment) {
        return "claviger config show --origin".to_owned();
    }
    match &account.follows {
        Some(path) => format!("log in with the tool that keeps {path}: it is read again on change"),
        None if account.kind == "api_key" => format!("claviger login {provider} --with-key --account {}", account.id),
        None => format!("claviger login {provider} --account {}", account.id),
    }
}

/// What a person, or the vendor's terms, set for an account beside its label and its priority; nothing for a plain one.
pub fn options(account: &AccountView) -> Vec<String> {
    let OptionsView { reserve_percent, weight, own_client_only, own_client_only_set, model_prefix, proxy } = &account.options;
    let mut options = Vec::new();
    if *reserve_percent > 0 {
        options.push(format!("reserve {reserve_percent}%"));
    }
    if *weight != 1 {
        options.push(format!("weight {weight}"));
    }
    match (own_client_only, own_client_only_set.as_str()) {
        (true, "on") => options.push("own client only".to_owned()),
        (true, _) => options.push("own client only (by terms)".to_owned()),
        (false, "off") => options.push("any client".to_owned()),
        (false, _) => {}
    }
    options.extend(model_prefix.as_ref().map(|prefix| format!("models {prefix}…")));
    options.extend(proxy.as_ref().map(|proxy| format!("through {proxy}")));
    options
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
        SourceWord::Runtime => "given at the start",
        SourceWord::Config => "configuration",
        SourceWord::Environment => "environment",
    }
}

/// The grant of an account, and who shares it.
pub fn grant(account: &AccountView, list: &AccountList) -> String {
    let others = list.accounts.iter().filter(|other| other.grant == account.grant && other.id != account.id);
    let others: Vec<String> = others.map(|other| other.id.to_string()).collect();
    let shared = if others.is_empty() { String::new() } else { format!(", shared with account {}", others.join(", ")) };
    format!("{}, revision {}{shared}", account.grant, account.grant_revision)
}
