//! The object that `account add PROVIDER --from-json` takes.

use super::credential::{self, CredentialFault};
use super::json::JsonObject;
use super::{ImportedAccount, draft};
use claviger_domain::credential::CredentialKind;
use claviger_domain::profile::ProviderProfile;

/// Reads `{"type":"oauth", access, refresh, expires (epoch ms), accountId, email, orgId, orgName, projectId}` or
/// `{"type":"api_key", key}`, either with an optional `label`.
///
/// Unknown fields of a login are named in the notes and dropped, since tools write fields of their own there; those of a
/// key are errors.
pub fn parse_account_json(profile: &ProviderProfile, text: &[u8]) -> Result<ImportedAccount, CredentialFault> {
    let mut object = JsonObject::parse(text)?;
    let kind = match object.take_text("type")?.as_deref() {
        Some("oauth") => CredentialKind::OAuth,
        Some("api_key") => CredentialKind::ApiKey,
        Some(_) => return Err(CredentialFault::UnknownKind),
        None => return Err(object.missing("type").into()),
    };
    let label = object.take_text("label")?;
    let read = credential::read(&mut object, kind, profile)?;
    if kind == CredentialKind::ApiKey
        && let Some((_, fault)) = object.left().next()
    {
        return Err(fault.into());
    }
    let notes = object.left().map(|(name, _)| format!("unknown field {name:?} left out")).collect();
    Ok(ImportedAccount { label, notes, ..draft("the JSON object".to_owned(), profile.id.clone(), read.credential, read.identity) })
}
