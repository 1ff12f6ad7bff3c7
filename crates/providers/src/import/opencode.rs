//! The logins and keys that OpenCode keeps in `auth.json`, one entry a provider.

use super::credential::epoch_millis;
use super::follow::FollowFault;
use super::json::JsonObject;
use super::login::{Login, key_draft};
use super::owner::key_owner;
use super::{Import, ImportContext, ImportError, Skipped};
use claviger_domain::credential::CredentialKind;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use std::fmt::Display;
use std::path::Path;

/// The names of OpenCode that are others in the catalogue.
const KEY_NAMES: [(&str, &str); 10] = [
    ("amazon-bedrock", "amazon-bedrock"),
    ("azure-openai", "azure"),
    ("fireworks-ai", "fireworks"),
    ("moonshotai", "moonshot"),
    ("opencode", "opencode-zen"),
    ("togetherai", "together"),
    ("vercel", "vercel-ai-gateway"),
    ("zai-coding-plan", "zai"),
    ("kimi-for-coding", "kimi-code"),
    ("alibaba", "alibaba-coding-plan"),
];
/// The names under which it keeps logins, which are of other providers than the keys of the same name.
const LOGIN_NAMES: [(&str, &str); 3] = [("openai", "openai-codex"), ("xai", "xai-oauth"), ("github-copilot-enterprise", COPILOT)];
/// Its login is a token of GitHub that nobody refreshes.
const COPILOT: &str = "github-copilot";

/// Reads the file: logins become accounts that follow it, their refresh tokens stay there; keys are taken over.
pub fn parse_opencode(context: &ImportContext<'_>, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    let file = JsonObject::parse(text).map_err(|fault| ImportError::NotItsFile { path: path.to_owned(), fault })?;
    let mut import = Import::default();
    for (name, entry) in file.into_objects() {
        let found = entry.map_err(Why::from).and_then(|entry| account(context, &name, entry, path));
        match found {
            Ok(account) => import.accounts.push(account),
            Err(Why(why)) => import.skipped.push(Skipped::new(&name, &why)),
        }
    }
    Ok(import)
}

/// Why an entry is skipped, in words without a secret.
struct Why(String);

impl<T: Display> From<T> for Why {
    fn from(fault: T) -> Self {
        Self(fault.to_string())
    }
}

fn account(context: &ImportContext<'_>, name: &str, mut entry: JsonObject<'_>, path: &Path) -> Result<super::ImportedAccount, Why> {
    match entry.take_text("type")?.as_deref() {
        Some("oauth") => {
            let id = name_of(&LOGIN_NAMES, name);
            let profile = context.catalogue.get(id).ok_or_else(|| Why::from(super::owner::OwnerFault::Unknown(id.to_owned())))?;
            if profile.wire(CredentialKind::OAuth).is_none() {
                return Err(Why(format!("{} takes no login: a plug-in of OpenCode made this one in a form of its own", profile.id)));
            }
            let login = login(entry, profile)?;
            if login.has_ended(context.now) {
                return Err(FollowFault::LoggedOut.into());
            }
            let label = format!("OpenCode ({name})");
            if profile.id.as_str() == COPILOT {
                return Ok(super::ImportedAccount { label: Some(label), ..login.owned(name, profile) });
            }
            Ok(login.followed(name, profile, &label, path))
        }
        Some("api") => {
            let key = entry.take_secret("key")?.ok_or_else(|| Why::from("no key"))?;
            let profile = key_owner(context.catalogue, Some(name_of(&KEY_NAMES, name)), entry.take_text("baseURL")?.as_deref())?;
            Ok(key_draft(name, profile, key)?)
        }
        // Its name is the URL of an organisation's server, which says what the token is for.
        Some("wellknown") => {
            let token = entry.take_secret("token")?.ok_or(FollowFault::LoggedOut)?;
            Ok(key_draft(name, key_owner(context.catalogue, None, Some(name))?, token)?)
        }
        Some(_) => Err(Why::from("unknown type")),
        None => Err(entry.missing("type").into()),
    }
}

/// The login of one provider.
pub(super) fn read(text: &[u8], profile: &ProviderProfile) -> Result<Login, FollowFault> {
    let entries = JsonObject::parse(text)?.into_objects().filter_map(|(name, entry)| Some((name, entry.ok()?)));
    let is_its = |name: &str| {
        let id = name_of(&LOGIN_NAMES, name);
        profile.id.as_str() == id || profile.aliases.iter().any(|alias| alias == id)
    };
    for (name, mut entry) in entries {
        if is_its(&name) && entry.take_text("type")?.as_deref() == Some("oauth") {
            return login(entry, profile);
        }
    }
    Err(FollowFault::LoggedOut)
}

fn login(mut entry: JsonObject<'_>, profile: &ProviderProfile) -> Result<Login, FollowFault> {
    let (access, refresh) = (entry.take_secret("access")?, entry.take_secret("refresh")?);
    // Nought stands for "never" and for "ended": the login is what the refresh token makes of it.
    let expires_at = entry.take_number("expires")?.filter(|end| *end > 0.0).map(epoch_millis);
    let written =
        Identity { account_id: entry.take_text("accountId")?, enterprise_url: entry.take_text("enterpriseUrl")?, ..Identity::default() };
    let login =
        if profile.id.as_str() == COPILOT { Login::of(refresh.or(access), None, None)? } else { Login::of(access, refresh, expires_at)? };
    Ok(login.with_claims(written, &profile.identity))
}

fn name_of<'a>(names: &'a [(&'a str, &'a str)], name: &'a str) -> &'a str {
    names.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours)
}
