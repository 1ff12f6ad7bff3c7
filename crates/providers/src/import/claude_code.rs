//! The login that Claude Code keeps in `.credentials.json`.

use super::credential::{epoch_millis, sendable};
use super::follow::FollowFault;
use super::json::JsonObject;
use super::{FollowedToken, Import, ImportError, ImportedAccount, ImportedCredential, Skipped, draft};
use crate::catalogue::Catalogue;
use claviger_domain::identity::Identity;
use claviger_domain::secret::AccessToken;
use std::path::Path;

/// The provider in the catalogue.
pub(super) const PROVIDER: &str = "anthropic";
/// How the login is named to people.
const ROW: &str = "claudeAiOauth";

/// Reads the file as an account that follows it; its refresh token stays there.
pub fn parse_claude_code(catalogue: &Catalogue, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    let mut import = Import::default();
    let Some(profile) = catalogue.get(PROVIDER) else {
        import.skipped.push(Skipped::new(ROW, &format_args!("the catalogue has no provider {PROVIDER}")));
        return Ok(import);
    };
    match read(text) {
        Ok((token, plan)) => {
            let credential = ImportedCredential::OAuth { access: token.access, refresh: None, expires_at: token.expires_at };
            let label = Some(plan.map_or_else(|| "Claude Code".to_owned(), |plan| format!("Claude Code ({plan})")));
            let account = draft(ROW.to_owned(), profile.id.clone(), credential, Identity::default());
            import.accounts.push(ImportedAccount { label, follow: Some(path.to_owned()), ..account });
        }
        Err(FollowFault::LoggedOut) => import.skipped.push(Skipped::new(ROW, &"logged out there")),
        Err(FollowFault::Malformed(fault)) => return Err(ImportError::NotItsFile { path: path.to_owned(), fault }),
        Err(FollowFault::NotSendable) => import.skipped.push(Skipped::new(ROW, &FollowFault::NotSendable)),
    }
    Ok(import)
}

/// The token and the name of the plan. A login without an access token is logged out: the tool writes such stubs.
pub(super) fn read(text: &[u8]) -> Result<(FollowedToken, Option<String>), FollowFault> {
    let mut file = JsonObject::parse(text)?;
    let mut login = file.take_object("claudeAiOauth")?.ok_or(FollowFault::LoggedOut)?;
    let access = login.take_secret("accessToken")?.ok_or(FollowFault::LoggedOut)?;
    let access = AccessToken::from_text(sendable(access).map_err(|_kind| FollowFault::NotSendable)?);
    let refresh_present = login.take_secret("refreshToken")?.is_some();
    let expires_at = login.take_number("expiresAt")?.map(epoch_millis);
    let plan = login.take_text("subscriptionType")?;
    Ok((FollowedToken { access, refresh_present, expires_at }, plan))
}
