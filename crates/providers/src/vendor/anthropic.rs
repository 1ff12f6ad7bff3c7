//! Who has logged in at Anthropic, where the token's answer did not say it: a profile of its own shape.

use super::ask::{Ask, label};
use crate::hooks::{ControlHttp, FreshLogin, HookError};
use claviger_domain::identity::Identity;
use claviger_domain::origin::Endpoint;
use http::HeaderName;
use serde::Deserialize;

/// The profile.
pub(super) const PROFILE: &str = "anthropic-profile";

#[derive(Deserialize)]
struct Profile {
    account: Option<Account>,
    organization: Option<Organization>,
}

#[derive(Deserialize)]
struct Account {
    uuid: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
struct Organization {
    uuid: Option<String>,
    name: Option<String>,
}

/// Adds account and organisation, unless both are known.
pub(super) async fn name(url: &Endpoint, fresh: &mut FreshLogin, http: &dyn ControlHttp) -> Result<(), HookError> {
    if fresh.identity.account_id.is_some() && fresh.identity.org_id.is_some() {
        return Ok(());
    }
    let ask = Ask::get("the question who has logged in", &url.to_string())?
        .authorized("Bearer", &fresh.access)?
        .with(HeaderName::from_static("anthropic-beta"), "oauth-2025-04-20");
    let Profile { account, organization } = ask.json(http).await?;
    let (account_id, email) = account.map_or((None, None), |account| (account.uuid, account.email));
    let (org_id, org_name) = organization.map_or((None, None), |organization| (organization.uuid, organization.name));
    let [account_id, email, org_id, org_name] = [account_id, email, org_id, org_name].map(|text| text.and_then(label));
    let told = Identity { account_id, email, org_id, org_name, ..Identity::default() };
    fresh.identity = std::mem::take(&mut fresh.identity).completed_by(told);
    Ok(())
}
