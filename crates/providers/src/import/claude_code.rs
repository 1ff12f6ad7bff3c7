//! The login that Claude Code keeps in `.credentials.json`, or in the keychain of macOS under [`KEYCHAIN_SERVICE`].

use super::credential::epoch_millis;
use super::follow::FollowFault;
use super::json::{JsonObject, TextFault};
use super::login::Login;
use super::{Import, ImportContext, ImportError, Skipped};
use claviger_domain::identity::Identity;
use std::path::{Path, PathBuf};

/// The provider in the catalogue.
pub(super) const PROVIDER: &str = "anthropic";
/// The name of the item in the keychain of macOS; observed November 2026. Its value is what the file holds elsewhere.
pub(super) const KEYCHAIN_SERVICE: &str = "Claude Code-credentials";
/// How the login is named to people.
const ROW: &str = "claudeAiOauth";

/// Reads the file as an account that follows it; its refresh token stays there. `owner` is what stands in the file beside it.
pub fn parse_claude_code(context: &ImportContext<'_>, text: &[u8], path: &Path, owner: Identity) -> Result<Import, ImportError> {
    let mut import = Import::default();
    let Some(profile) = context.catalogue.get(PROVIDER) else {
        import.skipped.push(Skipped::no_provider(ROW, PROVIDER));
        return Ok(import);
    };
    match read(text) {
        Ok((login, _)) if login.has_ended(context.now) => import.skipped.push(Skipped::new(ROW, &FollowFault::LoggedOut)),
        Ok((login, plan)) => {
            let label = plan.map_or_else(|| "Claude Code".to_owned(), |plan| format!("Claude Code ({plan})"));
            let login = Login { identity: login.identity.completed_by(owner), ..login };
            import.accounts.push(login.followed(ROW, profile, &label, path));
        }
        Err(FollowFault::Malformed(fault)) => return Err(ImportError::NotItsFile { path: path.to_owned(), fault }),
        Err(fault) => import.skipped.push(Skipped::new(ROW, &fault)),
    }
    Ok(import)
}

/// The login and the name of its plan.
pub(super) fn read(text: &[u8]) -> Result<(Login, Option<String>), FollowFault> {
    let mut file = JsonObject::parse(text)?;
    let mut login = file.take_object("claudeAiOauth")?.ok_or(FollowFault::LoggedOut)?;
    let (access, refresh) = (login.take_secret("accessToken")?, login.take_secret("refreshToken")?);
    let expires_at = login.take_number("expiresAt")?.map(epoch_millis);
    let plan = login.take_text("subscriptionType")?;
    Ok((Login::of(access, refresh, expires_at)?, plan))
}

/// Where Claude Code says whose the login of `path` is: beside it where its folder was named, else in the home folder.
pub(super) fn owner_files(path: &Path) -> Vec<PathBuf> {
    if path.file_name().is_none_or(|name| name != ".credentials.json") {
        return Vec::new();
    }
    path.ancestors().skip(1).take(2).map(|folder| folder.join(".claude.json")).collect()
}

/// Whose login it is, from `.claude.json`, which holds much else.
pub(super) fn owner(text: &[u8]) -> Result<Identity, TextFault> {
    let Some(mut owner) = JsonObject::parse(text)?.take_object("oauthAccount")? else { return Ok(Identity::default()) };
    let identity = Identity {
        account_id: owner.take_text("accountUuid")?,
        email: owner.take_text("emailAddress")?,
        org_id: owner.take_text("organizationUuid")?,
        org_name: owner.take_text("organizationName")?,
        ..Identity::default()
    };
    Ok(identity.normalized())
}
