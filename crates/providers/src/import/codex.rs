//! The login or key that Codex keeps in `auth.json`.

use super::claims::{complete, expires_at};
use super::credential::sendable;
use super::follow::FollowFault;
use super::json::{JsonFault, JsonObject};
use super::{FollowedToken, Import, ImportError, ImportedAccount, ImportedCredential, Skipped, draft};
use crate::catalogue::Catalogue;
use claviger_domain::identity::Identity;
use claviger_domain::profile::IdentityRule;
use claviger_domain::secret::{AccessToken, ApiKey};
use claviger_oauth::identity_from_claims;
use std::path::Path;

/// The provider of a login.
pub(super) const PROVIDER: &str = "openai-codex";
/// The provider of a key.
const KEY_PROVIDER: &str = "openai";
const LOGIN_ROW: &str = "tokens";
const KEY_ROW: &str = "OPENAI_API_KEY";

/// Reads the file: a login becomes an account that follows it, its refresh token stays there; a key becomes a key of its
/// own provider, which is taken over.
pub fn parse_codex(catalogue: &Catalogue, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    let malformed = |fault| ImportError::NotItsFile { path: path.to_owned(), fault };
    let mut import = Import::default();
    login(catalogue, text, path, &mut import).map_err(malformed)?;
    key(catalogue, text, &mut import).map_err(malformed)?;
    if import.accounts.is_empty() && import.skipped.is_empty() {
        import.skipped.push(Skipped::new(LOGIN_ROW, &"logged out there"));
    }
    Ok(import)
}

fn login(catalogue: &Catalogue, text: &[u8], path: &Path, import: &mut Import) -> Result<(), JsonFault> {
    let Some(profile) = catalogue.get(PROVIDER) else {
        import.skipped.push(Skipped::new(LOGIN_ROW, &format_args!("the catalogue has no provider {PROVIDER}")));
        return Ok(());
    };
    match read(text, &profile.identity) {
        Ok((token, identity)) => {
            let credential = ImportedCredential::OAuth { access: token.access, refresh: None, expires_at: token.expires_at };
            let account = draft(LOGIN_ROW.to_owned(), profile.id.clone(), credential, identity);
            import.accounts.push(ImportedAccount { label: Some("Codex".to_owned()), follow: Some(path.to_owned()), ..account });
        }
        Err(FollowFault::LoggedOut) => {}
        Err(FollowFault::NotSendable) => import.skipped.push(Skipped::new(LOGIN_ROW, &FollowFault::NotSendable)),
        Err(FollowFault::Malformed(fault)) => return Err(fault),
    }
    Ok(())
}

fn key(catalogue: &Catalogue, text: &[u8], import: &mut Import) -> Result<(), JsonFault> {
    let Some(key) = JsonObject::parse(text)?.take_secret("OPENAI_API_KEY")? else { return Ok(()) };
    match (catalogue.get(KEY_PROVIDER), sendable(key)) {
        (Some(profile), Ok(key)) => {
            let credential = ImportedCredential::ApiKey { key: ApiKey::from_text(key) };
            import.accounts.push(draft(KEY_ROW.to_owned(), profile.id.clone(), credential, Identity::default()));
        }
        (None, _) => import.skipped.push(Skipped::new(KEY_ROW, &format_args!("the catalogue has no provider {KEY_PROVIDER}"))),
        (_, Err(fault)) => import.skipped.push(Skipped::new(KEY_ROW, &fault)),
    }
    Ok(())
}

/// The token, and the identity that the file and the claims of both its tokens name.
pub(super) fn read(text: &[u8], rule: &IdentityRule) -> Result<(FollowedToken, Identity), FollowFault> {
    let mut file = JsonObject::parse(text)?;
    let mut tokens = file.take_object("tokens")?.ok_or(FollowFault::LoggedOut)?;
    let access = tokens.take_secret("access_token")?.ok_or(FollowFault::LoggedOut)?;
    let access = AccessToken::from_text(sendable(access).map_err(|_kind| FollowFault::NotSendable)?);
    let refresh_present = tokens.take_secret("refresh_token")?.is_some();
    let expires_at = expires_at(access.expose());
    let id_token = tokens.take_secret("id_token")?;
    let written = Identity { account_id: tokens.take_text("account_id")?, ..Identity::default() }.normalized();
    let claimed = complete(written, identity_from_claims(rule, access.expose()));
    let identity = match id_token {
        Some(token) => complete(claimed, identity_from_claims(rule, token.expose())),
        None => claimed,
    };
    Ok((FollowedToken { access, refresh_present, expires_at }, identity))
}
