//! A login as a tool's file holds it, and the drafts that it becomes: followed, or taken over.

use super::credential::{CredentialFault, sendable};
use super::follow::FollowFault;
use super::{ImportedAccount, ImportedCredential, draft};
use claviger_domain::credential::CredentialKind;
use claviger_domain::identity::Identity;
use claviger_domain::profile::{IdentityRule, ProviderProfile};
use claviger_domain::secret::{AccessToken, ApiKey, SecretText};
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_oauth::{RefreshToken, identity_from_claims};
use std::path::Path;

/// A login as its file holds it.
pub(super) struct Login {
    pub(super) access: AccessToken,
    pub(super) refresh: Option<RefreshToken>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) identity: Identity,
}

impl Login {
    /// From the texts of a file. Without an access token, or with one that has ended and that nothing can renew, it is the
    /// stub that tools leave behind when they log out.
    pub(super) fn of(access: Option<SecretText>, refresh: Option<SecretText>, expires_at: Option<Timestamp>) -> Result<Self, FollowFault> {
        let access = access.ok_or(FollowFault::LoggedOut)?;
        let access = AccessToken::from_text(sendable(access).map_err(|_kind| FollowFault::NotSendable)?);
        let expires_at = expires_at.or_else(|| super::claims::expires_at(access.expose()));
        Ok(Self { access, refresh: refresh.map(RefreshToken::from_text), expires_at, identity: Identity::default() })
    }

    /// With what its access token claims, as the provider's entry reads it, in the place of what is not known.
    pub(super) fn with_claims(self, written: Identity, rule: &IdentityRule) -> Self {
        let claimed = identity_from_claims(rule, self.access.expose());
        Self { identity: written.normalized().completed_by(claimed), ..self }
    }

    /// Whether its token has ended and nothing can renew it.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.refresh.is_none() && self.expires_at.is_some_and(|end| end <= now)
    }

    /// The draft of an account that follows `path`; the refresh token stays there.
    pub(super) fn followed(self, row: &str, profile: &ProviderProfile, label: &str, path: &Path) -> ImportedAccount {
        let Self { access, refresh: _, expires_at, identity } = self;
        let credential = ImportedCredential::OAuth { access, refresh: None, expires_at };
        let account = draft(row.to_owned(), profile.id.clone(), credential, identity);
        ImportedAccount { label: Some(label.to_owned()), follow: Some(path.to_owned()), ..account }
    }

    /// The draft of an account that is refreshed here.
    pub(super) fn owned(self, row: &str, profile: &ProviderProfile) -> ImportedAccount {
        let Self { access, refresh, expires_at, identity } = self;
        draft(row.to_owned(), profile.id.clone(), ImportedCredential::OAuth { access, refresh, expires_at }, identity)
    }
}

/// The draft of a key that is taken over.
pub(super) fn key_draft(row: &str, profile: &ProviderProfile, key: SecretText) -> Result<ImportedAccount, CredentialFault> {
    stored_key(row, profile, sendable(key)?)
}

/// The draft of a key that stays in a variable of the environment.
pub(super) fn variable_draft(row: &str, profile: &ProviderProfile, name: &str) -> Result<ImportedAccount, CredentialFault> {
    stored_key(row, profile, SecretText::new(ValueRef::Env(name.to_owned()).to_string()))
}

fn stored_key(row: &str, profile: &ProviderProfile, key: SecretText) -> Result<ImportedAccount, CredentialFault> {
    let kind = CredentialKind::ApiKey;
    if profile.wire(kind).is_none() {
        return Err(CredentialFault::KindNotTaken { provider: profile.id.to_string(), kind });
    }
    Ok(draft(row.to_owned(), profile.id.clone(), ImportedCredential::ApiKey { key: ApiKey::from_text(key) }, Identity::default()))
}

/// What the claims of an ID token of OpenID Connect say: the e-mail alone, since `sub` is of another space than account ids.
pub(super) fn email_of(id_token: Option<&SecretText>) -> Identity {
    let rule = IdentityRule { email: vec![vec!["email".to_owned()]], ..IdentityRule::default() };
    id_token.map(|token| identity_from_claims(&rule, token.expose())).unwrap_or_default()
}
