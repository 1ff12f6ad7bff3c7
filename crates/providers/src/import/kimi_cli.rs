//! What kimi-cli keeps in its folder: a login a file below `credentials`, keys in `config.toml`.

use super::follow::FollowFault;
use super::json::{JsonObject, TextFault};
use super::login::{Login, key_draft};
use super::owner::key_owner;
use super::{Import, ImportContext, ImportError, Skipped};
use claviger_domain::identity::Identity;
use claviger_domain::profile::IdentityRule;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The folder of logins.
pub(super) const LOGINS: &str = "credentials";
/// The file of keys.
pub(super) const CONFIG_FILE: &str = "config.toml";

/// Reads a file below `credentials` as an account that follows it. Its name is that of the provider.
pub fn parse_kimi_login(context: &ImportContext<'_>, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    let mut import = Import::default();
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Where the file was given by a path of its own, it is the tool's one login.
    let profile = context.catalogue.get(&name).or_else(|| context.catalogue.get("kimi-code"));
    let Some(profile) = profile else {
        import.skipped.push(Skipped::no_provider(&name, "kimi-code"));
        return Ok(import);
    };
    match read(text, &profile.identity) {
        Ok(login) if login.has_ended(context.now) => import.skipped.push(Skipped::new(&name, &FollowFault::LoggedOut)),
        Ok(login) => import.accounts.push(login.followed(&name, profile, "kimi-cli", path)),
        Err(FollowFault::Malformed(fault)) => return Err(ImportError::NotItsFile { path: path.to_owned(), fault }),
        Err(fault) => import.skipped.push(Skipped::new(&name, &fault)),
    }
    Ok(import)
}

/// The login, with the identity that its token claims.
pub(super) fn read(text: &[u8], rule: &IdentityRule) -> Result<Login, FollowFault> {
    let mut file = JsonObject::parse(text)?;
    let (access, refresh) = (file.take_secret("access_token")?, file.take_secret("refresh_token")?);
    let expires_at = file.take_number("expires_at")?.map(epoch_seconds);
    Ok(Login::of(access, refresh, expires_at)?.with_claims(Identity::default(), rule))
}

/// Seconds with a fraction, as Python counts them.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the fraction of a millisecond is dropped")]
fn epoch_seconds(number: f64) -> Timestamp {
    Timestamp((number * 1000.0) as i64)
}

/// Reads the keys of `config.toml`. One whose address is nobody's in the catalogue is skipped: it must not go elsewhere.
pub fn parse_kimi_config(context: &ImportContext<'_>, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        providers: BTreeMap<String, Provider>,
    }
    #[derive(Deserialize)]
    struct Provider {
        #[serde(default)]
        base_url: Option<String>,
        #[serde(default)]
        api_key: Option<String>,
    }
    let text = std::str::from_utf8(text).map_err(|_not_utf8| not_toml(path, "", None))?;
    let config: Config = toml::from_str(text).map_err(|error| not_toml(path, text, error.span().map(|span| span.start)))?;
    let mut import = Import::default();
    for (name, Provider { base_url, api_key }) in config.providers {
        let Some(key) = api_key.filter(|key| !key.trim().is_empty()) else { continue };
        let row = format!("{CONFIG_FILE}: providers.{name}");
        let key = SecretText::new(key);
        match key_owner(context.catalogue, None, base_url.as_deref()).map(|profile| key_draft(&row, profile, key)) {
            Ok(Ok(account)) => import.accounts.push(account),
            Ok(Err(fault)) => import.skipped.push(Skipped::new(&row, &fault)),
            Err(fault) => import.skipped.push(Skipped::new(&row, &fault)),
        }
    }
    Ok(import)
}

fn not_toml(path: &Path, text: &str, offset: Option<usize>) -> ImportError {
    let fault = TextFault::at_offset(text, offset.unwrap_or_default(), "not the TOML that is expected");
    ImportError::NotItsFile { path: path.to_owned(), fault }
}
