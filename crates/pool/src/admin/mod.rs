//! The control plane on this machine: every change is on disk before it is answered, and in the view right after.

mod accounts;
mod keys;
mod login;
mod origins;
mod status;
mod tokens;

pub(crate) use accounts::{check_secret, checked_label};

use crate::{Inner, Pool};
use claviger_admin::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountOrigins, AccountTaken, AccountView, Admin, AdminAnswer, AdminError,
    CheckAsk, CheckView, CreditsAsk, CreditsView, ErrorCode, EventPage, EventsAsk, ImportReport, KeyCreate, KeyCreated, KeyList, KeyView,
    LoginAsk, LoginContinue, LoginStep, OriginsView, ProcessList, RedeemAsk, RedeemView, StatusView, TokenAsk, TokenList, UsageAsk,
    UsageView,
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

    fn account_check(&self, ask: CheckAsk) -> AdminAnswer<'_, CheckView> {
        Box::pin(self.inner.account_check(ask))
    }

    fn credits_list(&self, ask: CreditsAsk) -> AdminAnswer<'_, CreditsView> {
        Box::pin(self.inner.credits_list(ask))
    }

    fn credits_redeem(&self, ask: RedeemAsk) -> AdminAnswer<'_, RedeemView> {
        Box::pin(self.inner.credits_redeem(ask))
    }

    fn events(&self, ask: EventsAsk) -> AdminAnswer<'_, EventPage> {
        Box::pin(async { Ok(self.inner.events_page(ask).await) })
    }

    fn login_begin(&self, ask: LoginAsk) -> AdminAnswer<'_, LoginStep> {
        Box::pin(self.login_begin(ask))
    }

    fn login_continue(&self, next: LoginContinue) -> AdminAnswer<'_, LoginStep> {
        Box::pin(self.login_continue(next))
    }

    fn login_cancel(&self, login: String) -> AdminAnswer<'_, ()> {
        let given_up = self.inner.login_cancel(&login);
        Box::pin(async move { given_up })
    }

    fn usage(&self, ask: UsageAsk) -> AdminAnswer<'_, UsageView> {
        Box::pin(self.inner.usage_view(ask))
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

/// Who changes things where nobody is named.
const ADMIN: &str = "admin";

impl Inner {
    /// Appends to the audit trail, before what it says is done.
    async fn audit(&self, action: &str, subject: String) -> Result<(), AdminError> {
        self.audit_by(ADMIN, action, subject).await
    }

    /// The same, naming who does it.
    pub(crate) async fn audit_by(&self, actor: &str, action: &str, subject: String) -> Result<(), AdminError> {
        let entry = AuditEntry { at: self.clock.now(), action: action.to_owned(), subject, actor: actor.to_owned() };
        self.store.audit_append(entry).await.map_err(failed)
    }
}

/// Refuses to change what is in no vault.
pub(crate) fn in_a_vault(account: AccountId) -> Result<(), AdminError> {
    if account.is_unstored() {
        let message = format!(
            "account {account} is in no vault: it stands in the configuration, the environment or the command line of the server, and is changed there"
        );
        return Err(AdminError::new(ErrorCode::Refused, message).hint("claviger config show --origin"));
    }
    Ok(())
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

pub(crate) fn not_found(account: AccountId) -> AdminError {
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
