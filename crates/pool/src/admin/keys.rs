//! Virtual keys: make, list, revoke.

use super::{failed, profile_named};
use crate::Inner;
use crate::keys::KeyEntry;
use crate::limits::{KEY_LIFETIME_MAX, LABEL_MAX_CHARS};
use claviger_admin::{AdminError, ErrorCode, Exposed, KeyCreate, KeyCreated, KeyList, KeyView};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::virtual_key::{Accessor, KeyKind, compose};
use claviger_runtime::random_bytes;
use claviger_store::KeyDraft;
use std::time::Duration;

impl Inner {
    pub(super) async fn key_create(&self, key: KeyCreate) -> Result<KeyCreated, AdminError> {
        let KeyCreate { label, providers, accounts, lifetime_s } = key;
        if label.as_ref().is_some_and(|label| label.chars().count() > LABEL_MAX_CHARS || label.chars().any(char::is_control)) {
            let message = format!("a label has at most {LABEL_MAX_CHARS} letters and no control characters");
            return Err(AdminError::new(ErrorCode::Usage, message));
        }
        let providers = self.provider_ids(&providers)?;
        let accounts = self.account_ids(&accounts)?;
        let now = self.clock.now();
        let expires_at = lifetime_s.map(|life| now.plus(Duration::from_secs(life).min(KEY_LIFETIME_MAX)));
        let (accessor, text) = compose(KeyKind::Standing, &random_bytes());
        let digest = self.keys.digest(text.expose());
        let draft = KeyDraft { accessor, kind: KeyKind::Standing, digest, label, providers, accounts, created_at: now, expires_at };
        self.audit("key.create", format!("key {accessor}")).await?;
        self.store.key_insert(draft).await.map_err(failed)?;
        self.rebuild().await.map_err(failed)?;
        let view = self.key_view(accessor)?;
        Ok(KeyCreated { key: Exposed::new(text.expose().to_owned()), view })
    }

    fn provider_ids(&self, names: &[String]) -> Result<Vec<ProviderId>, AdminError> {
        let view = self.view.load();
        names.iter().map(|name| Ok(profile_named(&view, name)?.id.clone())).collect()
    }

    fn account_ids(&self, ids: &[i64]) -> Result<Vec<AccountId>, AdminError> {
        let view = self.view.load();
        let known = |id: &i64| view.accounts.contains_key(&AccountId(*id)).then_some(AccountId(*id));
        ids.iter().map(|id| known(id).ok_or_else(|| super::not_found(AccountId(*id)))).collect()
    }

    pub(super) fn key_list(&self) -> KeyList {
        let view = self.view.load();
        let mut keys: Vec<KeyView> = view.keys.values().map(view_of).collect();
        keys.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        KeyList { keys }
    }

    pub(super) async fn key_revoke(&self, accessor: Accessor) -> Result<KeyView, AdminError> {
        self.audit("key.revoke", format!("key {accessor}")).await?;
        if !self.store.key_revoke(accessor, self.clock.now()).await.map_err(failed)? {
            return Err(unknown(accessor));
        }
        self.rebuild().await.map_err(failed)?;
        self.key_view(accessor)
    }

    fn key_view(&self, accessor: Accessor) -> Result<KeyView, AdminError> {
        self.view.load().keys.get(&accessor).map(view_of).ok_or_else(|| unknown(accessor))
    }
}

fn unknown(accessor: Accessor) -> AdminError {
    AdminError::new(ErrorCode::NotFound, format!("there is no key {accessor}")).hint("claviger key list")
}

fn view_of(entry: &KeyEntry) -> KeyView {
    KeyView {
        id: entry.grant.accessor.to_string(),
        label: entry.grant.label.clone(),
        providers: entry.grant.providers.iter().map(ToString::to_string).collect(),
        accounts: entry.grant.accounts.iter().map(|account| account.0).collect(),
        created_at: entry.created_at,
        expires_at: entry.grant.expires_at,
        revoked_at: entry.revoked_at,
        used_at: entry.usage.used_at(),
    }
}
