//! What Gemini CLI keeps in its folder: a login in `oauth_creds.json`, whose it is in `google_accounts.json`, a key in `.env`.

use super::credential::epoch_millis;
use super::follow::FollowFault;
use super::json::{JsonObject, TextFault};
use super::login::{Login, email_of, key_draft};
use super::{Import, ImportContext, ImportError, Skipped};
use claviger_domain::identity::Identity;
use claviger_domain::secret::SecretText;
use std::path::Path;

/// The provider of a login.
const PROVIDER: &str = "google-gemini-cli";
/// The provider of a key.
const KEY_PROVIDER: &str = "google";
/// The file of the login.
pub(super) const LOGIN_FILE: &str = "oauth_creds.json";
/// Whose login it is.
pub(super) const OWNER_FILE: &str = "google_accounts.json";
/// Variables that the tool loads.
pub(super) const ENV_FILE: &str = ".env";

/// The files of the folder, as far as they are there.
#[derive(Debug, Default, Clone, Copy)]
pub struct GeminiFiles<'a> {
    /// `oauth_creds.json`.
    pub login: Option<&'a [u8]>,
    /// `google_accounts.json`.
    pub owner: Option<&'a [u8]>,
    /// `.env`.
    pub variables: Option<&'a [u8]>,
}

/// Reads the folder: a login becomes an account that follows `path`, a key is taken over.
pub fn parse_gemini_cli(context: &ImportContext<'_>, files: GeminiFiles<'_>, path: &Path) -> Result<Import, ImportError> {
    let malformed = |fault| ImportError::NotItsFile { path: path.to_owned(), fault };
    let mut import = Import::default();
    let variable = |name: &str| files.variables.and_then(|text| variable(text, name));
    if let Some(text) = files.login {
        match (read(text), context.catalogue.get(PROVIDER)) {
            (Err(FollowFault::Malformed(fault)), _) => return Err(malformed(fault)),
            (Err(fault), _) => import.skipped.push(Skipped::new(LOGIN_FILE, &fault)),
            (Ok(_), None) => import.skipped.push(Skipped::no_provider(LOGIN_FILE, PROVIDER)),
            (Ok(login), _) if login.has_ended(context.now) => import.skipped.push(Skipped::new(LOGIN_FILE, &FollowFault::LoggedOut)),
            (Ok(login), Some(profile)) => {
                let project_id = ["GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT_ID"]
                    .into_iter()
                    .find_map(|name| (context.environment)(name).or_else(|| Some(variable(name)?.expose().to_owned())));
                let owner = files.owner.and_then(|text| active_account(text).ok().flatten());
                let known = Identity { email: owner, project_id, ..Identity::default() };
                let login = Login { identity: login.identity.completed_by(known.normalized()), ..login };
                import.accounts.push(login.followed(LOGIN_FILE, profile, "Gemini CLI", path));
            }
        }
    }
    for name in ["GEMINI_API_KEY", "GOOGLE_API_KEY"] {
        let Some(key) = variable(name) else { continue };
        let row = format!("{name} in {ENV_FILE}");
        match context.catalogue.get(KEY_PROVIDER).map(|profile| key_draft(&row, profile, key)) {
            Some(Ok(account)) => import.accounts.push(account),
            Some(Err(fault)) => import.skipped.push(Skipped::new(&row, &fault)),
            None => import.skipped.push(Skipped::no_provider(&row, KEY_PROVIDER)),
        }
    }
    Ok(import)
}

/// The login, with the e-mail that its ID token claims.
pub(super) fn read(text: &[u8]) -> Result<Login, FollowFault> {
    let mut file = JsonObject::parse(text)?;
    let (access, refresh) = (file.take_secret("access_token")?, file.take_secret("refresh_token")?);
    let expires_at = file.take_number("expiry_date")?.map(epoch_millis);
    let identity = email_of(file.take_secret("id_token")?.as_ref());
    Ok(Login { identity, ..Login::of(access, refresh, expires_at)? })
}

/// The e-mail of the account that is logged in.
pub(super) fn active_account(text: &[u8]) -> Result<Option<String>, TextFault> {
    JsonObject::parse(text)?.take_text("active")
}

/// A variable of a `.env` file: `NAME=value`, where `export` may stand before it and quotes around the value. The last one counts.
fn variable(text: &[u8], name: &str) -> Option<SecretText> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text.lines().rev().find_map(|line| {
        let line = line.trim();
        let (found, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    })?;
    let bare = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    // What stands behind a value without quotes is a comment.
    let value = bare.unwrap_or_else(|| value.split_once(" #").map_or(value, |(value, _comment)| value.trim_end()));
    (!value.is_empty()).then(|| SecretText::new(value.to_owned()))
}
