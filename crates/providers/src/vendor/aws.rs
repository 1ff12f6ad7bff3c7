//! Keys of AWS, from the environment, from a profile, or from the program that a profile names.

mod profile;
mod sigv4;

use super::ask::Secret;
use crate::ambient::{AmbientCredential, AmbientError, Errand, Found, Lookup, Machine, Way};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use profile::Plan;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub use sigv4::sign;

pub(crate) const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(crate) const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
pub(crate) const PROFILE: &str = "AWS_PROFILE";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const CONFIG_FILE: &str = "AWS_CONFIG_FILE";
const CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// A profile of AWS, and the files in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsProfile {
    /// Its name.
    pub name: String,
    /// The shared configuration.
    pub config: PathBuf,
    /// The shared credentials.
    pub credentials: PathBuf,
}

impl AwsProfile {
    /// A profile by name, in the files that the environment names, else in the home of the user.
    pub(crate) fn named(name: String, lookup: Lookup<'_>, home: Option<&Path>) -> Option<Self> {
        let file = |variable, usual: &str| {
            let named = lookup(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            named.or_else(|| Some(home?.join(".aws").join(usual)))
        };
        Some(Self { name, config: file(CONFIG_FILE, "config")?, credentials: file(CREDENTIALS_FILE, "credentials")? })
    }
}

/// Keys of AWS. They sign, and are never sent; of temporary ones the session token is.
#[derive(Debug)]
pub struct AwsKeys {
    id: SecretText,
    secret: SecretText,
    token: Option<SecretText>,
}

impl AwsKeys {
    /// The keys in one text, as accounts hold secrets: a line for each.
    pub fn into_text(self) -> SecretText {
        let parts = [Some(&self.id), Some(&self.secret), self.token.as_ref()];
        let parts = parts.into_iter().flatten().map(SecretText::expose);
        let mut text = String::with_capacity(parts.clone().map(|part| part.len() + 1).sum());
        for part in parts {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(part);
        }
        SecretText::new(text)
    }

    /// Reads what [`AwsKeys::into_text`] wrote; `None` for anything else.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let keys = Self::of(lines.next()?, lines.next()?, lines.next())?;
        lines.next().is_none().then_some(keys)
    }

    /// Keys whose parts can be such: one word each.
    fn of(id: &str, secret: &str, token: Option<&str>) -> Option<Self> {
        let word = |text: &str| {
            let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| SecretText::new(text.to_owned()))
        };
        let token = match token {
            Some(token) => Some(word(token)?),
            None => None,
        };
        // The id stands between commas and slashes of the header.
        Some(Self { id: word(id).filter(|_| !id.contains(['/', ',', '=']))?, secret: word(secret)?, token })
    }

    fn into_credential(self, expires_at: Option<Timestamp>) -> AmbientCredential {
        AmbientCredential { secret: self.into_text(), expires_at, project: None }
    }
}

/// The keys in the environment of the server.
pub(crate) async fn of_environment(machine: &dyn Machine) -> Result<AmbientCredential, AmbientError> {
    let (id, secret) = (variable(KEY_ID, machine).await?, variable(SECRET_KEY, machine).await?);
    let token = variable(SESSION_TOKEN, machine).await?;
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err(AmbientError::Broken(format!("{KEY_ID} and {SECRET_KEY} are not set in the environment of the server")));
    };
    let keys = AwsKeys::of(text(&id), text(&secret), token.as_deref().map(|token| text(token)));
    let keys = keys.ok_or_else(|| AmbientError::Broken(format!("{KEY_ID}, {SECRET_KEY} and {SESSION_TOKEN} hold no keys")))?;
    Ok(keys.into_credential(None))
}

async fn variable(name: &str, machine: &dyn Machine) -> Result<Option<Zeroizing<Vec<u8>>>, AmbientError> {
    machine.text(&ValueRef::Env(name.to_owned())).await.map_err(AmbientError::Broken)
}

/// Text without the white space at its ends; what is no text is empty.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default().trim()
}

/// What a profile says: its keys, or how to have them.
pub(crate) async fn of_profile(profile: &AwsProfile, machine: &dyn Machine) -> Result<Found, AmbientError> {
    let config = machine.text(&ValueRef::File(profile.config.clone())).await.map_err(AmbientError::Broken)?;
    let credentials = machine.text(&ValueRef::File(profile.credentials.clone())).await.map_err(AmbientError::Broken)?;
    let both = (config.as_deref().map_or("", |config| text(config)), credentials.as_deref().map_or("", |shared| text(shared)));
    match profile::plan(&profile.name, both).map_err(AmbientError::Broken)? {
        Plan::Keys(keys) => Ok(Found::Here(keys.into_credential(None))),
        Plan::Program(program) => Ok(Found::Elsewhere(Errand(Way::Program(program)))),
    }
}

/// What a credential process prints: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: Secret,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    expiration: Option<String>,
}

/// The keys that a program prints.
pub(crate) async fn printed(program: &ValueRef, machine: &dyn Machine) -> Result<AmbientCredential, AmbientError> {
    let name = match program {
        ValueRef::Cmd(words) => words.first().map_or("", String::as_str),
        _ => "",
    };
    let Some(output) = machine.text(program).await.map_err(|why| AmbientError::Unavailable(failure(name, &why)))? else {
        let why = format!("the program {name} is not there; install it, or let the profile name another one with credential_process");
        return Err(AmbientError::Broken(why));
    };
    // What serde would say of it could quote it.
    let unreadable = |what: &str| AmbientError::Broken(format!("{name} prints {what}, and not the JSON of a credential process"));
    let printed: Printed = serde_json::from_slice(&output).map_err(|_source| unreadable("something else"))?;
    let Printed { version, access_key_id: Secret(id), secret_access_key: Secret(secret), session_token, expiration } = printed;
    if version != 1 {
        return Err(unreadable("another version of it"));
    }
    let token = session_token.map(|Secret(token)| token);
    let keys = AwsKeys::of(id.expose(), secret.expose(), token.as_ref().map(SecretText::expose));
    let keys = keys.ok_or_else(|| unreadable("something that is no key"))?;
    let ends = expiration.map(|text| text.parse::<jiff::Timestamp>().map(|end| Timestamp(end.as_millisecond()))).transpose();
    Ok(keys.into_credential(ends.map_err(|_source| unreadable("an end that is no point in time"))?))
}

fn failure(name: &str, why: &str) -> String {
    if name == profile::AWS { format!("{why}; it may need a person: aws sso login") } else { why.to_owned() }
}
