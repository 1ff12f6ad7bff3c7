//! The looks: every account as it stands, compared with how it stood, now and then and whenever something has changed.

use super::changes::{Health, Seen, changes};
use crate::Inner;
use crate::account::AccountLive;
use crate::grant::Moment;
use crate::limits::{ANNOUNCED_LOOK_MAX, BROKEN_TOLD_AFTER, CARE_INTERVAL, CARE_PAUSE};
use claviger_admin::{EventKind, time_text};
use claviger_domain::credential::{CredentialKind, Custody, GrantState, Standing};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_runtime::{Clock, best_effort};
use claviger_store::AuditEntry;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{Mutex, Notify};

/// The row of the audit trail which says that the end of a login was announced.
const ANNOUNCED: &str = "login.ends";
/// Who does what nobody asked for.
const OURSELVES: &str = "claviger";

/// What was seen last, and the call to look again.
#[derive(Debug, Default)]
pub(crate) struct Care {
    /// Held over a look, so that of two at once none tells what the other has told.
    seen: Mutex<HashMap<AccountId, Seen>>,
    wake: Arc<Notify>,
}

impl Care {
    /// Something of an account has changed. Cheap, and never waits: marks between two looks are one.
    pub(crate) fn mark(&self) {
        self.wake.notify_one();
    }
}

/// Looks until the pool is gone; whoever starts it sees to its end before.
pub(crate) async fn run(inner: Weak<Inner>, clock: Arc<dyn Clock>) {
    loop {
        let wake = {
            let Some(inner) = inner.upgrade() else { return };
            inner.care_look().await;
            Arc::clone(&inner.care.wake)
        };
        clock.sleep(CARE_PAUSE).await;
        tokio::select! {
            () = wake.notified() => {}
            () = clock.sleep(CARE_INTERVAL) => {}
        }
    }
}

impl Inner {
    /// One look: what is news is told.
    pub(crate) async fn care_look(&self) {
        let mut seen = self.care.seen.lock().await;
        let view = self.view.load_full();
        let moment = Moment::of(&*self.clock);
        seen.retain(|id, _| view.accounts.contains_key(id));
        for (id, account) in &view.accounts {
            let mut now_seen = self.seen(account, moment);
            for kind in changes(seen.get(id), &mut now_seen, (self.started_at, moment.now)) {
                if self.is_news(*id, &kind, moment.now).await {
                    self.events.emit(moment.now, (&account.profile.id, *id), kind);
                }
            }
            seen.insert(*id, now_seen);
        }
    }

    fn seen(&self, account: &AccountLive, moment: Moment) -> Seen {
        let facts = account.grant.facts();
        // No refresh ends a key, or what is in no vault: only its place does.
        let is_value = account.kind == CredentialKind::ApiKey || account.row.id.is_unstored();
        let health = match (&account.row.standing, &facts.state) {
            (Standing::Disabled { .. }, _) => Health::Off,
            (Standing::Active, GrantState::Live) => Health::Live,
            (Standing::Active, GrantState::NeedsLogin { cause, since }) if is_value => {
                let is_settled = moment.now.until(*since) >= BROKEN_TOLD_AFTER && !self.is_value_awaited(account.grant.id);
                if is_settled { Health::Broken { cause: cause.clone() } } else { Health::Live }
            }
            (Standing::Active, GrantState::NeedsLogin { cause, since }) => Health::Dead { cause: cause.clone(), since: *since },
        };
        let is_key = account.kind == CredentialKind::ApiKey && !account.row.id.is_unstored();
        Seen {
            health,
            logged_in_at: account.row.logged_in_at,
            key: is_key.then_some(facts.fingerprint),
            is_followed: matches!(facts.custody, Custody::Followed { .. }),
            quarantined: account.quarantine(&facts),
            login_ends_at: self.login_ends_at(account),
            announced_end: None,
            blocks: account.blocks.current(moment),
        }
    }

    /// When the login of an account ends however often it is refreshed, where that was observed of its provider.
    pub(crate) fn login_ends_at(&self, account: &AccountLive) -> Option<Timestamp> {
        if account.kind != CredentialKind::OAuth || account.grant.facts().state != GrantState::Live {
            return None;
        }
        let life = self.settings.load().catalogue.login(account.profile.id.as_str())?.grant_life?;
        Some(account.row.logged_in_at?.plus(life))
    }

    /// Whether nobody was told yet by an earlier process. Only the end of a login is the same news at every start.
    async fn is_news(&self, account: AccountId, kind: &EventKind, now: Timestamp) -> bool {
        let EventKind::LoginEnds { ends_at } = kind else { return true };
        let subject = format!("account {account}, {}", time_text::format(*ends_at));
        let trail = best_effort("look for an announcement", self.store.audit_list(ANNOUNCED_LOOK_MAX).await).unwrap_or_default();
        if trail.iter().any(|entry| entry.action == ANNOUNCED && entry.subject == subject) {
            return false;
        }
        let entry = AuditEntry { at: now, action: ANNOUNCED.to_owned(), subject, actor: OURSELVES.to_owned() };
        best_effort("note an announcement", self.store.audit_append(entry).await);
        true
    }
}
