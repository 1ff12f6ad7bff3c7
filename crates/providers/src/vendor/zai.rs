//! The key of a Z.AI login: its tokens serve no requests, so a durable key is looked up, or made, under our own name.

use super::ask::{Ask, Secret, below, segment, unreadable};
use crate::hooks::{ControlHttp, FreshLogin, HookError};
use claviger_domain::origin::Endpoint;
use claviger_domain::secret::SecretText;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the login's token is traded for one of the business API.
pub(super) const LOGIN: &str = "zai-business-login";
/// The business API.
pub(super) const BUSINESS: &str = "zai-business";

/// The name of our key among the account's keys. Keys of other names are other applications'.
const KEY_NAME: &str = "claviger";

const SIGN_IN: &str = "the sign-in to Z.AI's business API";
const CUSTOMER: &str = "the question for the organisation";
const KEYS: &str = "the question for the account's keys";
const COPY: &str = "the question for the key's secret";

#[derive(Serialize)]
struct SignIn<'a> {
    token: &'a str,
}

/// Errors come with status 200.
#[derive(Deserialize)]
struct Envelope<T> {
    code: Option<Value>,
    success: Option<bool>,
    data: Option<T>,
}

#[derive(Deserialize)]
struct BusinessToken {
    #[serde(alias = "accessToken")]
    access_token: Secret,
}

#[derive(Deserialize)]
struct Customer {
    #[serde(default)]
    organizations: Vec<Organization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Organization {
    #[serde(alias = "id")]
    organization_id: String,
    #[serde(default)]
    is_default: bool,
    #[serde(default)]
    projects: Vec<Project>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    #[serde(alias = "id")]
    project_id: String,
    #[serde(default)]
    is_default: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    name: Option<String>,
    api_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeySecret {
    secret_key: Secret,
}

/// Trades the login for the account's key of our name, made now if there is none.
pub(super) async fn mint(login: &Endpoint, business: &Endpoint, fresh: &mut FreshLogin, http: &dyn ControlHttp) -> Result<(), HookError> {
    if fresh.is_key {
        return Ok(());
    }
    let signed_in = Ask::post(SIGN_IN, &login.to_string(), &SignIn { token: fresh.access.expose() })?;
    let BusinessToken { access_token: Secret(token) } = opened(SIGN_IN, signed_in.json(http).await?)?;
    let ask = Ask::get(CUSTOMER, &below(business, "/customer/getCustomerInfo"))?.authorized("Bearer", &token)?;
    let customer: Customer = opened(CUSTOMER, ask.json(http).await?)?;
    let keys = keys_of(business, &customer).ok_or_else(|| {
        HookError::Refused("this Z.AI account has no organisation with a project: make one at z.ai, or log in with a key".to_owned())
    })?;
    let id = key_id(&keys, &token, http).await?;
    let id = segment(&id).ok_or_else(|| unreadable(KEYS, "the id of the key leads elsewhere"))?;
    let ask = Ask::get(COPY, &format!("{keys}/copy/{id}"))?.authorized("Bearer", &token)?;
    let KeySecret { secret_key: Secret(secret) } = opened(COPY, ask.json(http).await?)?;
    fresh.access = SecretText::new(format!("{id}.{}", secret.expose()));
    (fresh.is_key, fresh.refresh, fresh.expires_at) = (true, None, None);
    Ok(())
}

/// The id of the key of our name.
async fn key_id(keys: &str, token: &SecretText, http: &dyn ControlHttp) -> Result<String, HookError> {
    let ask = Ask::get(KEYS, keys)?.authorized("Bearer", token)?;
    let listed: Vec<Key> = opened(KEYS, ask.json(http).await?)?;
    if let Some(ours) = listed.into_iter().filter(|key| key.name.as_deref() == Some(KEY_NAME)).find_map(|key| key.api_key) {
        return Ok(ours);
    }
    let ask = Ask::post(KEYS, keys, &json!({"name": KEY_NAME}))?.authorized("Bearer", token)?;
    let made: Key = opened(KEYS, ask.json(http).await?)?;
    made.api_key.ok_or_else(|| unreadable(KEYS, "the new key has no id"))
}

/// Where the keys of the default organisation's default project are, else of the first of each.
fn keys_of(business: &Endpoint, customer: &Customer) -> Option<String> {
    let organizations = &customer.organizations;
    let organization = organizations.iter().find(|organization| organization.is_default).or(organizations.first())?;
    let project = organization.projects.iter().find(|project| project.is_default).or(organization.projects.first())?;
    let (organization, project) = (segment(&organization.organization_id)?, segment(&project.project_id)?);
    Some(below(business, &format!("/v1/organization/{organization}/projects/{project}/api_keys")))
}

fn opened<T: DeserializeOwned>(what: &'static str, envelope: Envelope<T>) -> Result<T, HookError> {
    let Envelope { code, success, data } = envelope;
    let is_ok = match &code {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => matches!(text.as_str(), "0" | "200"),
        Some(code) => matches!(code.as_i64(), Some(0 | 200)),
    };
    if !is_ok || success == Some(false) {
        return Err(HookError::Refused(format!("{what} was refused: begin the login again, or log in with a key from z.ai")));
    }
    data.ok_or_else(|| unreadable(what, "it has no data"))
}
