//! The login or key that Codex keeps in `auth.json`.

use super::follow::FollowFault;
use super::json::{JsonObject, TextFault};
use super::login::{Login, key_draft};
use super::{Import, ImportContext, ImportError, Skipped};
use crate::catalogue::Catalogue;
use claviger_domain::identity::Identity;
use claviger_domain::profile::IdentityRule;
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
pub fn parse_codex(context: &ImportContext<'_>, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    let malformed = |fault| ImportError::NotItsFile { path: path.to_owned(), fault };
    let mut import = Import::default();
    login(context, text, path, &mut import).map_err(malformed)?;
    key(context.catalogue, text, &mut import).map_err(malformed)?;
    if import.accounts.is_empty() && import.skipped.is_empty() {
        import.skipped.push(Skipped::new(LOGIN_ROW, &FollowFault::LoggedOut));
    }
    Ok(import)
}

fn login(context: &ImportContext<'_>, text: &[u8], path: &Path, import: &mut Import) -> Result<(), TextFault> {
    let Some(profile) = context.catalogue.get(PROVIDER) else {
        import.skipped.push(Skipped::no_provider(LOGIN_ROW, PROVIDER));
        return Ok(());
    };
    match read(text, &profile.identity) {
        Ok(login) if login.has_ended(context.now) => {}
        Ok(login) => import.accounts.push(login.followed(LOGIN_ROW, profile, "Codex", path)),
        Err(FollowFault::LoggedOut) => {}
        Err(FollowFault::NotSendable) => import.skipped.push(Skipped::new(LOGIN_ROW, &FollowFault::NotSendable)),
        Err(FollowFault::Malformed(fault)) => return Err(fault),
    }
    Ok(())
}

fn key(catalogue: &Catalogue, text: &[u8], import: &mut Import) -> Result<(), TextFault> {
    let Some(key) = JsonObject::parse(text)?.take_secret("OPENAI_API_KEY")? else { return Ok(()) };
    let Some(profile) = catalogue.get(KEY_PROVIDER) else {
        import.skipped.push(Skipped::no_provider(KEY_ROW, KEY_PROVIDER));
        return Ok(());
    };
    match key_draft(KEY_ROW, profile, key) {
        Ok(account) => import.accounts.push(account),
        Err(fault) => import.skipped.push(Skipped::new(KEY_ROW, &fault)),
    }
    Ok(())
}

/// The login, with the identity that the file and the claims of both its tokens name.
pub(super) fn read(text: &[u8], rule: &IdentityRule) -> Result<Login, FollowFault> {
    let mut file = JsonObject::parse(text)?;
    let mut tokens = file.take_object("tokens")?.ok_or(FollowFault::LoggedOut)?;
    let (access, refresh) = (tokens.take_secret("access_token")?, tokens.take_secret("refresh_token")?);
    let id_token = tokens.take_secret("id_token")?;
    let written = Identity { account_id: tokens.take_text("account_id")?, ..Identity::default() };
    let login = Login::of(access, refresh, None)?.with_claims(written, rule);
    let claimed = id_token.map(|token| identity_from_claims(rule, token.expose())).unwrap_or_default();
    Ok(Login { identity: login.identity.completed_by(claimed), ..login })
}
