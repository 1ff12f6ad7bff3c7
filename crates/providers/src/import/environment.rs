//! Credentials in environment variables.

use super::claims::expires_at;
use super::credential::{self, CredentialFault};
use super::{Import, ImportedCredential, Skipped, draft};
use crate::catalogue::{Catalogue, EnvironmentRule, EnvironmentVariable};
use claviger_domain::credential::CredentialKind;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::{AccessToken, ApiKey, SecretText};
use claviger_oauth::identity_from_claims;

/// Reads every variable that the catalogue names. A login there has no refresh token: it serves until its access token ends.
pub fn parse_env(catalogue: &Catalogue, lookup: &dyn Fn(&str) -> Option<String>) -> Import {
    let mut import = Import::default();
    for profile in catalogue.iter() {
        let Some(rule) = catalogue.environment(profile.id.as_str()) else { continue };
        for variable in &rule.variables {
            let Some(text) = lookup(&variable.name).filter(|text| !text.trim().is_empty()) else { continue };
            match credential_of(rule, variable, profile, SecretText::new(text)) {
                Ok((credential, identity)) => {
                    import.accounts.push(draft(variable.name.clone(), profile.id.clone(), credential, identity));
                }
                Err(fault) => import.skipped.push(Skipped::new(&variable.name, &fault)),
            }
        }
    }
    import
}

fn credential_of(
    rule: &EnvironmentRule,
    variable: &EnvironmentVariable,
    profile: &ProviderProfile,
    secret: SecretText,
) -> Result<(ImportedCredential, Identity), CredentialFault> {
    let secret = credential::sendable(secret)?;
    let looks_like_login = rule.oauth_token_prefix.as_ref().is_some_and(|prefix| secret.expose().starts_with(prefix.as_str()));
    let kind = if looks_like_login { CredentialKind::OAuth } else { variable.kind };
    if profile.wire(kind).is_none() {
        return Err(CredentialFault::KindNotTaken { provider: profile.id.to_string(), kind });
    }
    match kind {
        CredentialKind::ApiKey => Ok((ImportedCredential::ApiKey { key: ApiKey::from_text(secret) }, Identity::default())),
        CredentialKind::OAuth => {
            let access = AccessToken::from_text(secret);
            let expires_at = expires_at(access.expose());
            let identity = identity_from_claims(&profile.identity, access.expose());
            Ok((ImportedCredential::OAuth { access, refresh: None, expires_at }, identity))
        }
    }
}
