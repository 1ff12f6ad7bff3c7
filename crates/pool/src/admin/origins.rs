//! Whose an account is: taken out of quarantine, and bound to where its provider is now.

use super::{failed, in_a_vault, not_found};
use crate::Inner;
use crate::account::AccountLive;
use crate::follow;
use claviger_admin::{AccountOrigins, AccountTaken, AdminError, ErrorCode, OriginsView, TakeOutcome};
use claviger_domain::credential::Custody;
use claviger_domain::id::AccountId;
use claviger_domain::origin::StoredOrigins;
use claviger_domain::profile::ProviderProfile;
use claviger_store::{GrantRow, Rebind};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

impl Inner {
    pub(super) async fn account_take(self: &Arc<Self>, id: AccountId) -> Result<AccountTaken, AdminError> {
        in_a_vault(id)?;
        self.rebuild().await.map_err(failed)?;
        let grant = self.row(id).ok_or_else(|| not_found(id))?.grant;
        let locks = self.locks(BTreeSet::from([grant])).await?;
        let row = self.store.grant_load(grant).await.map_err(failed)?.ok_or_else(|| not_found(id))?;
        let from = self.tool_file(id, &row).await?;
        let (outcome, steps) = if let Some(path) = from {
            let profile = Arc::clone(&self.known(id)?.profile);
            self.audit("account.take", format!("account {id}, grant {grant}, from {}", path.display())).await?;
            let taken = follow::take_over(self, &profile, &row, &path).await.map_err(|refusal| not_taken(id, &profile, refusal))?;
            (TakeOutcome::TakenOver, taken.steps)
        } else if row.quarantined.is_some() {
            self.audit("account.take", format!("account {id}, grant {grant}")).await?;
            // Stale: another process has taken it meanwhile.
            self.store.grant_release(grant).await.map_err(failed)?;
            (TakeOutcome::Taken, Vec::new())
        } else {
            (TakeOutcome::NotQuarantined, Vec::new())
        };
        drop(locks);
        self.rebuild().await.map_err(failed)?;
        if let (TakeOutcome::TakenOver, Some(grant)) = (outcome, self.view.load().grants.get(&grant)) {
            grant.notice(None);
        }
        let account = self.account_view(id).ok_or_else(|| not_found(id))?;
        Ok(AccountTaken { outcome, account, steps })
    }

    /// The file of the tool whose login an account follows, or was taken over from and which has renewed it since.
    async fn tool_file(self: &Arc<Self>, id: AccountId, row: &GrantRow) -> Result<Option<PathBuf>, AdminError> {
        if let Custody::Followed { path } = &row.custody {
            return Ok(Some(path.clone()));
        }
        let Ok(account) = self.known(id) else { return Ok(None) };
        let taken = follow::taken_from(self, &account.profile, row).await.map_err(failed)?;
        Ok(taken.map(|taken| taken.path))
    }

    pub(super) async fn account_origins(&self, id: AccountId) -> Result<AccountOrigins, AdminError> {
        in_a_vault(id)?;
        self.rebuild().await.map_err(failed)?;
        let account = self.known(id)?;
        let row = self.store.grant_load(account.row.grant).await.map_err(failed)?.ok_or_else(|| not_found(id))?;
        self.origins_of(&account, &row)
    }

    pub(super) async fn account_rebind(&self, id: AccountId, to: OriginsView) -> Result<AccountOrigins, AdminError> {
        in_a_vault(id)?;
        self.rebuild().await.map_err(failed)?;
        let account = self.known(id)?;
        let grant = account.row.grant;
        let locks = self.locks(BTreeSet::from([grant])).await?;
        let row = self.store.grant_load(grant).await.map_err(failed)?.ok_or_else(|| not_found(id))?;
        let before = self.origins_of(&account, &row)?;
        let again = format!("claviger account rebind {id}");
        if to != before.effective {
            let message = format!("{} is not where it was when that was agreed to: its configuration has changed", account.profile.id);
            return Err(AdminError::new(ErrorCode::Refused, message).hint(again));
        }
        let origins = account.profile.origins_to_store();
        if row.origins != origins {
            if row.intent.is_some() {
                return Err(open(id));
            }
            let subject = format!("account {id}, grant {grant}: {} -> {}", line(&before.stored), line(&before.effective));
            self.audit("account.rebind", subject).await?;
            match self.store.grant_rebind(grant, row.revision, origins).await.map_err(failed)? {
                Rebind::Done(_) => {}
                Rebind::Busy => return Err(open(id)),
                Rebind::Stale => {
                    let message = format!("account {id} is being changed by another process");
                    return Err(AdminError::new(ErrorCode::Failed, message).hint(again));
                }
            }
        }
        drop(locks);
        self.rebuild().await.map_err(failed)?;
        let account = self.account_view(id).ok_or_else(|| not_found(id))?;
        Ok(AccountOrigins { account, ..before })
    }

    fn origins_of(&self, account: &AccountLive, row: &GrantRow) -> Result<AccountOrigins, AdminError> {
        let id = account.row.id;
        Ok(AccountOrigins {
            account: self.account_view(id).ok_or_else(|| not_found(id))?,
            stored: as_stored(&row.origins, &account.profile),
            effective: OriginsView::from(&account.profile.origins),
        })
    }

    /// An account whose provider is known.
    fn known(&self, id: AccountId) -> Result<Arc<AccountLive>, AdminError> {
        if let Some(account) = self.view.load().accounts.get(&id) {
            return Ok(Arc::clone(account));
        }
        self.row(id).ok_or_else(|| not_found(id))?;
        let message = format!("account {id} cannot be read, or its provider is in no catalogue: there is nothing to bind it to");
        Err(AdminError::new(ErrorCode::Refused, message).hint(format!("claviger account show {id}")))
    }
}

/// The refusal to take a login over.
fn not_taken(id: AccountId, profile: &ProviderProfile, refusal: follow::Refusal) -> AdminError {
    let own = format!("give Claviger a login of its own: claviger login {} --account {id}", profile.id);
    match refusal {
        follow::Refusal::Store(error) => failed(error),
        refusal => AdminError::new(ErrorCode::Refused, format!("account {id} is not taken over: {refusal}")).hint(own),
    }
}

/// The refusal of an account that was stored for another address.
pub(super) fn changed(account: &AccountLive) -> AdminError {
    let id = account.row.id;
    let message = format!("account {id} was stored for another address of {}", account.profile.id);
    AdminError::new(ErrorCode::Refused, message).hint(format!("if the new address is meant: claviger account rebind {id}"))
}

fn open(id: AccountId) -> AdminError {
    let message = format!("a refresh of account {id} was begun, and what became of it is not known yet");
    let hint = format!("put the old address back until it is refreshed, or claviger account remove {id} and log in again");
    AdminError::new(ErrorCode::Refused, message).hint(hint)
}

/// What an account was stored for. Built-in ones are those of the program that runs.
fn as_stored(origins: &StoredOrigins, profile: &ProviderProfile) -> OriginsView {
    match origins {
        StoredOrigins::Explicit(origins) => OriginsView::from(origins),
        StoredOrigins::Builtin => profile.builtin_origins.as_ref().map(OriginsView::from).unwrap_or_default(),
    }
}

/// Origins in one line of the audit trail.
fn line(origins: &OriginsView) -> String {
    let OriginsView { inference, usage, token } = origins;
    format!("inference {}, usage {}, token {}", inference.join(" "), usage.join(" "), token.join(" "))
}
