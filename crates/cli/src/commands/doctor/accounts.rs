//! Accounts that cannot serve, and followed files that cannot be opened.

use super::Finding;
use crate::commands::account::words;
use claviger_admin::{AccountList, AccountView, StandingView};
use claviger_domain::time::Timestamp;
use claviger_providers::import::keychain_item;
use std::path::Path;

/// One finding for each account that cannot serve, or one that all can.
pub fn standing(list: &AccountList, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<Finding> = list.accounts.iter().filter_map(|account| trouble(account, now)).collect();
    if findings.is_empty() {
        findings.push(match list.accounts.len() {
            0 => Finding::warn("accounts", "no account is here yet", "claviger login PROVIDER"),
            1 => Finding::ok("accounts", "the one account can serve, or was switched off"),
            count => Finding::ok("accounts", format!("all {count} can serve, or were switched off")),
        });
    }
    findings
}

fn trouble(account: &AccountView, now: Timestamp) -> Option<Finding> {
    let detail = format!("{}: {}", words::short(account), words::standing_in_full(account));
    let hint = || words::remedies(account, now).join("; ");
    match account.standing {
        StandingView::Active => {
            let end = words::login_end(account, now)?;
            Some(Finding::warn("accounts", format!("{}: {end}", words::short(account)), hint()))
        }
        StandingView::Disabled { .. } => None,
        StandingView::NeedsLogin { .. } | StandingView::Quarantined { .. } => Some(Finding::warn("accounts", detail, hint())),
        StandingView::OriginChanged | StandingView::Damaged { .. } => Some(Finding::fail("accounts", detail, hint())),
    }
}

/// Followed files: each must be there and open.
pub fn followed(list: &AccountList) -> Vec<Finding> {
    let follows = list.accounts.iter().filter_map(|account| Some((account, account.follows.as_deref()?)));
    follows.map(|(account, path)| followed_file(account, path)).collect()
}

fn followed_file(account: &AccountView, path: &str) -> Finding {
    if let Some(notice) = &account.notice {
        let hint = format!("log in with the tool that keeps it, or claviger account remove {}", account.id);
        return Finding::warn("followed logins", format!("{}: {notice}", words::short(account)), hint);
    }
    if keychain_item(Path::new(path)).is_some() {
        return Finding::ok("followed logins", format!("{} follows {path}", words::short(account)));
    }
    match std::fs::File::open(Path::new(path)) {
        Ok(_) => Finding::ok("followed logins", format!("{} follows {path}", words::short(account))),
        Err(error) => {
            let detail = format!("{} follows {path}, which cannot be opened: {error}", words::short(account));
            let hint = format!("log in with the tool that keeps it, or claviger account remove {}", account.id);
            Finding::warn("followed logins", detail, hint)
        }
    }
}
