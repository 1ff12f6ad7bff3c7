//! The credential objects that oh-my-pi stores and `account add --from-json` takes.

use super::ImportedCredential;
use super::claims::{complete, expires_at};
use super::json::{JsonObject, TextFault};
use claviger_domain::credential::CredentialKind;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::{AccessToken, ApiKey, SecretText};
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_oauth::{RefreshToken, identity_from_claims};
use http::HeaderValue;

/// What a broker of oh-my-pi writes in the place of a refresh token that it keeps to itself.
const KEPT_BY_BROKER: &str = "__remote__";

/// Texts that tools store where there is no key.
const PLACEHOLDERS: [&str; 5] = ["N/A", "none", "vllm-local", "authenticated", "<authenticated>"];

/// Why a credential cannot be taken over. No value is in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialFault {
    /// The text is not what is expected.
    #[error(transparent)]
    Json(#[from] TextFault),
    /// The provider does not take this kind.
    #[error("{provider} takes no {}", match kind { CredentialKind::OAuth => "login", CredentialKind::ApiKey => "API key" })]
    KindNotTaken {
        /// The provider.
        provider: String,
        /// The kind.
        kind: CredentialKind,
    },
    /// The kind is unknown.
    #[error("the type is not one of oauth and api_key")]
    UnknownKind,
    /// The refresh token is held by a broker.
    #[error("its refresh token is kept by a broker; import from there")]
    KeptByBroker,
    /// A text that tools store where there is no key.
    #[error("a placeholder stands where the secret belongs")]
    Placeholder,
    /// `env:`, `file:` or `cmd:`. Whoever wrote the file would choose what of this machine is sent to a provider.
    #[error("a reference to a value stands where the secret belongs; `claviger login PROVIDER --with-key` takes one from you")]
    Reference,
    /// A secret that no header can carry.
    #[error("the secret holds characters that a header cannot carry")]
    NotSendable,
}

/// A credential with what else its object says.
pub(super) struct Read {
    pub(super) credential: ImportedCredential,
    pub(super) identity: Identity,
}

/// Takes the fields of a credential out of an object; the fields that are left are unknown.
pub(super) fn read(object: &mut JsonObject<'_>, kind: CredentialKind, profile: &ProviderProfile) -> Result<Read, CredentialFault> {
    if profile.wire(kind).is_none() {
        return Err(CredentialFault::KindNotTaken { provider: profile.id.to_string(), kind });
    }
    match kind {
        CredentialKind::OAuth => oauth(object, profile),
        CredentialKind::ApiKey => {
            let key = object.take_secret("key")?.ok_or_else(|| object.missing("key"))?;
            Ok(Read { credential: ImportedCredential::ApiKey { key: ApiKey::from_text(sendable(key)?) }, identity: Identity::default() })
        }
    }
}

fn oauth(object: &mut JsonObject<'_>, profile: &ProviderProfile) -> Result<Read, CredentialFault> {
    let access = object.take_secret("access")?.ok_or_else(|| object.missing("access"))?;
    let access = AccessToken::from_text(sendable(access)?);
    let refresh = object.take_secret("refresh")?.map(RefreshToken::from_text);
    if refresh.as_ref().is_some_and(|refresh| refresh.expose() == KEPT_BY_BROKER) {
        return Err(CredentialFault::KeptByBroker);
    }
    let expires_at = object.take_number("expires")?.map(epoch_millis).or_else(|| expires_at(access.expose()));
    let written = Identity {
        account_id: object.take_text("accountId")?,
        email: object.take_text("email")?,
        org_id: object.take_text("orgId")?,
        org_name: object.take_text("orgName")?,
        project_id: object.take_text("projectId")?,
        enterprise_url: object.take_text("enterpriseUrl")?,
        api_endpoint: object.take_text("apiEndpoint")?,
    };
    let identity = complete(written.normalized(), identity_from_claims(&profile.identity, access.expose()));
    Ok(Read { credential: ImportedCredential::OAuth { access, refresh, expires_at }, identity })
}

/// A number of JavaScript, fractions cut off.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the fraction of a millisecond is dropped")]
pub(super) fn epoch_millis(number: f64) -> Timestamp {
    Timestamp(number as i64)
}

/// Refuses what would not arrive at the provider as it is.
pub(super) fn sendable(secret: SecretText) -> Result<SecretText, CredentialFault> {
    if PLACEHOLDERS.contains(&secret.expose()) {
        return Err(CredentialFault::Placeholder);
    }
    if ValueRef::refers(secret.expose()) {
        return Err(CredentialFault::Reference);
    }
    let visible = secret.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if visible && HeaderValue::from_str(secret.expose()).is_ok() { Ok(secret) } else { Err(CredentialFault::NotSendable) }
}
