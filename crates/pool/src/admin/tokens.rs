//! Tokens for people and programs that need the real one: refreshed if due, audited before they are given.

use super::{failed, not_found, profile_named};
use crate::account::{AccountLive, Reach};
use crate::flight;
use crate::grant::Moment;
use crate::sticky::sticky_key;
use crate::{Inner, Pool};
use claviger_admin::{AdminError, ErrorCode, Exposed, SkippedRow, TokenAsk, TokenList, TokenView};
use claviger_domain::credential::{GrantState, Standing};
use claviger_domain::id::AccountId;
use claviger_domain::refresh::{Due, Want};
use claviger_domain::session::SessionHash;
use claviger_runtime::random_u64;
use claviger_store::{AuditEntry, GrantSecret};
use std::sync::Arc;

impl Pool {
    pub(super) async fn token_list(&self, ask: TokenAsk) -> Result<TokenList, AdminError> {
        let inner = &self.inner;
        inner.rebuild().await.map_err(failed)?;
        let mut accounts = inner.accounts_for(&ask)?;
        if inner.await_values(accounts.iter().map(|account| account.row.grant)).await.map_err(failed)? {
            accounts = inner.accounts_for(&ask)?;
        }
        let actor = if ask.actor.is_empty() { "unknown".to_owned() } else { ask.actor.clone() };
        let mut list = TokenList { tokens: Vec::new(), skipped: Vec::new() };
        for account in accounts {
            match inner.token_of(&account, &actor).await {
                Ok(token) => list.tokens.push(token),
                Err(error) if ask.all => list.skipped.push(SkippedRow::new(format!("account {}", account.row.id), &error)),
                Err(error) => return Err(error),
            }
        }
        Ok(list)
    }
}

impl Inner {
    /// The accounts that a question means: one by id, all, or the one that the gateway would pick.
    fn accounts_for(&self, ask: &TokenAsk) -> Result<Vec<Arc<AccountLive>>, AdminError> {
        let view = self.view.load();
        let profile = profile_named(&view, &ask.provider)?;
        let none = || {
            let message = format!("{} has no account", profile.id);
            AdminError::new(ErrorCode::NotFound, message).hint(format!("claviger account add {} --from-json FILE", profile.id))
        };
        if let Some(id) = ask.account.map(AccountId) {
            let account = view.accounts.get(&id).filter(|account| account.profile.id == profile.id);
            return Ok(vec![Arc::clone(account.ok_or_else(|| not_found(id))?)]);
        }
        let provider = view.providers.get(&profile.id).ok_or_else(none)?;
        if ask.all {
            return Ok(provider.ranked(None).into_iter().map(Arc::clone).collect());
        }
        let moment = Moment::of(&*self.clock);
        let serves = |account: &Arc<AccountLive>| {
            account.reach == Reach::Admitted && account.grant.facts().state == GrantState::Live && account.obstacle(None, moment).is_none()
        };
        let session = ask.session.as_ref().map(|session| sticky_key(&profile.id, SessionHash::of(&[session.as_bytes()])));
        let wanted = self.wanted(&profile, session, random_u64(), moment);
        let picked = provider.choose(None, &wanted, serves);
        let account = picked.or_else(|| provider.ranked(None).into_iter().next()).ok_or_else(none)?;
        Ok(vec![Arc::clone(account)])
    }

    async fn token_of(self: &Arc<Self>, account: &Arc<AccountLive>, actor: &str) -> Result<TokenView, AdminError> {
        let id = account.row.id;
        let refused = |message: String| AdminError::new(ErrorCode::Refused, message);
        if let Standing::Disabled { cause, .. } = &account.row.standing {
            return Err(refused(format!("account {id} is switched off: {cause}")).hint(format!("claviger account enable {id}")));
        }
        if account.profile.wire(account.kind).is_some_and(|wire| wire.signing.is_some()) {
            let message = format!("account {id} signs requests: it has no token, and its keys stay where they are");
            return Err(refused(message).hint("send requests through the gateway: claviger env"));
        }
        if let GrantState::NeedsLogin { cause, .. } = &account.grant.facts().state
            && account.reach == Reach::Unusable
        {
            return Err(refused(format!("account {id}: {cause}")).hint("claviger config show --origin"));
        }
        match account.reach {
            Reach::Admitted => {}
            Reach::OriginChanged => return Err(super::origins::changed(account)),
            Reach::Unusable => return Err(refused(format!("{} takes no credential of this kind", account.profile.id))),
        }
        let moment = Moment::of(&*self.clock);
        let facts = account.grant.facts();
        let resting = account.grant.resting(moment);
        let due = account.is_renewable(&facts, resting) && facts.is_due(moment);
        drop(facts);
        if due && resting.is_none() {
            // What came of the flight is read from the vault below.
            flight::join(self, &account.grant, &account.profile, Want::IfDue { due: Due::Request }).await;
        }
        let facts = account.grant.facts();
        if !facts.is_sendable(Moment::of(&*self.clock)) {
            if facts.state == GrantState::Live && account.refresh_reach == Reach::OriginChanged {
                return Err(super::origins::changed(account));
            }
            if account.quarantine(&facts).is_some() {
                let message =
                    format!("the token of account {id} has ended, and it is in quarantine: another copy of this vault may use it");
                return Err(refused(message).hint(format!("claviger account take {id}")));
            }
            return Err(match &facts.state {
                GrantState::NeedsLogin { cause, .. } => refused(format!("account {id} needs a new login: {cause}")),
                GrantState::Live => {
                    AdminError::new(ErrorCode::Failed, format!("the token of account {id} has ended and could not be refreshed"))
                }
            }
            .hint(format!("claviger account show {id}")));
        }
        drop(facts);
        self.give(account, actor).await
    }

    /// Reads the secret from the vault, after the audit trail has it.
    async fn give(&self, account: &AccountLive, actor: &str) -> Result<TokenView, AdminError> {
        let id = account.row.id;
        let entry =
            AuditEntry { at: self.clock.now(), action: "token.export".into(), subject: format!("account {id}"), actor: actor.to_owned() };
        self.store.audit_append(entry).await.map_err(failed)?;
        let row = self.grant_with_value(account.row.grant).await.map_err(failed)?.ok_or_else(|| not_found(id))?;
        let kind = row.secret.kind();
        let text = match &row.secret {
            GrantSecret::OAuth { access, .. } => access.expose(),
            GrantSecret::ApiKey { key } => key.expose(),
        };
        Ok(TokenView {
            token: Exposed::new(text.to_owned()),
            expires_at: row.expires_at,
            account: id.0,
            provider: account.profile.id.to_string(),
            kind: kind.as_str().to_owned(),
            identity: account.row.identity.clone().into(),
        })
    }
}
