//! The control plane on this machine: every change is on disk before it is answered, and in the view right after.

mod accounts;
mod keys;
mod origins;
mod status;
mod tokens;

use crate::{Inner, Pool};
use claviger_admin::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountOrigins, AccountTaken, AccountView, Admin, AdminAnswer, AdminError,
    ErrorCode, ImportReport, KeyCreate, KeyCreated, KeyList, KeyView, OriginsView, ProcessList, StatusView, TokenAsk, TokenList,
};
use claviger_domain::id::AccountId;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::virtual_key::Accessor;
use claviger_store::{AuditEntry, StoreError};
use std::sync::Arc;

impl Admin for Pool {
    fn status(&self) -> AdminAnswer<'_, StatusView> {
        Box::pin(async { Ok(self.inner.status()) })
    }

    fn processes(&self) -> AdminAnswer<'_, ProcessList> {
        Box::pin(async { Ok(self.inner.processes()) })
    }

    fn account_list(&self) -> AdminAnswer<'_, AccountList> {
        Box::pin(async {
            self.inner.rebuild().await.map_err(failed)?;
            Ok(self.inner.account_list())
        })
    }

    fn account_import(&self, accounts: Vec<AccountAdd>) -> AdminAnswer<'_, ImportReport> {
        Box::pin(self.inner.account_import(accounts))
    }

    fn account_add(&self, account: AccountAdd) -> AdminAnswer<'_, AccountAdded> {
        Box::pin(self.inner.account_add(account))
    }

    fn account_change(&self, account: AccountId, change: AccountChange) -> AdminAnswer<'_, AccountView> {
        Box::pin(self.inner.account_change(account, change))
    }

    fn account_remove(&self, account: AccountId) -> AdminAnswer<'_, ()> {
        Box::pin(self.inner.account_remove(account))
    }

    fn account_take(&self, account: AccountId) -> AdminAnswer<'_, AccountTaken> {
        Box::pin(self.inner.account_take(account))
    }

    fn account_origins(&self, account: AccountId) -> AdminAnswer<'_, AccountOrigins> {
        Box::pin(self.inner.account_origins(account))
    }

    fn account_rebind(&self, account: AccountId, to: OriginsView) -> AdminAnswer<'_, AccountOrigins> {
        Box::pin(self.inner.account_rebind(account, to))
    }

    fn account_unblock(&self, account: Option<AccountId>) -> AdminAnswer<'_, u64> {
        Box::pin(self.inner.account_unblock(account))
    }

    fn token(&self, ask: TokenAsk) -> AdminAnswer<'_, TokenList> {
        Box::pin(self.token_list(ask))
    }

    fn key_create(&self, key: KeyCreate) -> AdminAnswer<'_, KeyCreated> {
        Box::pin(self.inner.key_create(key))
    }

    fn key_list(&self) -> AdminAnswer<'_, KeyList> {
        Box::pin(async {
            self.inner.rebuild().await.map_err(failed)?;
            Ok(self.inner.key_list())
        })
    }

    fn key_revoke(&self, accessor: Accessor) -> AdminAnswer<'_, KeyView> {
        Box::pin(self.inner.key_revoke(accessor))
    }
}

impl Inner {
    /// Appends to the audit trail, before what it says is done.
    async fn audit(&self, action: &str, subject: String) -> Result<(), AdminError> {
        let entry = AuditEntry { at: self.clock.now(), action: action.to_owned(), subject, actor: "admin".to_owned() };
        self.store.audit_append(entry).await.map_err(failed)
    }
}

/// A failure of the vault, with its causes.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
pub(crate) fn failed(error: StoreError) -> AdminError {
    match &error {
        StoreError::Unwritable { .. } => AdminError::failed(&error).hint("free some space or make the folder writable, then try again"),
        StoreError::Row(_) => AdminError::failed(&error).hint("claviger doctor"),
        _ => AdminError::failed(&error),
    }
}

fn not_found(account: AccountId) -> AdminError {
    AdminError::new(ErrorCode::NotFound, format!("there is no account {account}")).hint("claviger account list")
}

/// A provider by id or alias, with the nearest names where there is none.
pub(crate) fn profile_named(view: &crate::view::View, name: &str) -> Result<Arc<ProviderProfile>, AdminError> {
    if let Some(profile) = view.profile(name) {
        return Ok(Arc::clone(profile));
    }
    let mut known: Vec<&str> = view.routes.providers.values().map(|profile| profile.id.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let message = format!("there is no provider {name:?}; known are {}", known.join(", "));
    Err(AdminError::new(ErrorCode::NotFound, message).hint("define it in a file of providers.d, then `claviger config check`"))
}
