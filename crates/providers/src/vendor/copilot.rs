//! Who has logged in at GitHub, and which host serves the plan: both stand in answers of GitHub's own shape.

use super::ask::{Ask, label, public_origin};
use crate::hooks::{ControlHttp, FreshLogin, HookError};
use claviger_domain::identity::Identity;
use claviger_domain::origin::{Endpoint, Origin};
use serde::Deserialize;

/// Who it is.
pub(super) const PERSON: &str = "github-user";
/// What Copilot says of the account: its plan, and the host of its requests.
pub(super) const PLAN: &str = "copilot-user";

/// The public installation. Any other is an enterprise's own.
const PUBLIC_API: &str = "api.github.com";

#[derive(Deserialize)]
struct Person {
    login: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
struct Plan {
    copilot_plan: Option<String>,
    endpoints: Option<Endpoints>,
}

#[derive(Deserialize)]
struct Endpoints {
    api: Option<String>,
}

/// Adds login, e-mail and installation.
pub(super) async fn name(url: &Endpoint, fresh: &mut FreshLogin, http: &dyn ControlHttp) -> Result<(), HookError> {
    fresh.identity.enterprise_url = enterprise(&url.origin);
    let ask = Ask::get("the question who has logged in", &url.to_string())?.authorized("Bearer", &fresh.access)?;
    let Person { login, email } = ask.json(http).await?;
    let told = Identity { account_id: login.and_then(label), email: email.and_then(label), ..Identity::default() };
    fresh.identity = std::mem::take(&mut fresh.identity).completed_by(told);
    Ok(())
}

/// Adds the plan, and the origin that the provider names for this account's requests. An origin that is no public https one is
/// left out.
pub(super) async fn place(url: &Endpoint, fresh: &mut FreshLogin, http: &dyn ControlHttp) -> Result<(), HookError> {
    let ask = Ask::get("the question for the plan", &url.to_string())?.authorized("token", &fresh.access)?;
    let Plan { copilot_plan, endpoints } = ask.json(http).await?;
    fresh.plan = copilot_plan.or(fresh.plan.take());
    let api = endpoints.and_then(|endpoints| endpoints.api).and_then(|api| api.parse::<Endpoint>().ok());
    fresh.identity.api_endpoint = api.filter(|api| api.path.is_empty() && api.query.is_empty()).map(|api| public_origin(&api.origin));
    Ok(())
}

/// The domain of an enterprise, from the host of its API: `api.acme.ghe.com` is of `acme.ghe.com`.
fn enterprise(api: &Origin) -> Option<String> {
    let host = api.host();
    (host != PUBLIC_API).then(|| host.strip_prefix("api."))?.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enterprise_is_named_by_its_domain() {
        let of = |url: &str| enterprise(&url.parse().unwrap());
        assert_eq!(of("https://api.github.com"), None);
        assert_eq!(of("https://api.acme.ghe.com").as_deref(), Some("acme.ghe.com"));
        assert_eq!(of("http://127.0.0.1:9"), None);
    }
}
