//! Who has logged in, asked at a userinfo endpoint (OpenID Connect Core §5.3), where the tokens do not say it.

use super::ask::{Ask, label};
use crate::hooks::{ControlHttp, FreshLogin, HookError};
use claviger_domain::identity::Identity;
use claviger_domain::origin::Endpoint;
use serde::Deserialize;

/// The userinfo endpoint.
pub(super) const USERINFO: &str = "userinfo";

#[derive(Deserialize)]
struct UserInfo {
    sub: Option<String>,
    email: Option<String>,
}

/// Adds account id and e-mail, unless the e-mail is known.
pub(super) async fn name(url: &Endpoint, fresh: &mut FreshLogin, http: &dyn ControlHttp) -> Result<(), HookError> {
    if fresh.identity.email.is_some() {
        return Ok(());
    }
    let ask = Ask::get("the question who has logged in", &url.to_string())?.authorized("Bearer", &fresh.access)?;
    let UserInfo { sub, email } = ask.json(http).await?;
    let told = Identity { account_id: sub.and_then(label), email: email.and_then(label), ..Identity::default() };
    fresh.identity = std::mem::take(&mut fresh.identity).completed_by(told);
    Ok(())
}
