//! What follows a login, vendor by vendor: which hooks there are, and which of them a provider has.

mod anthropic;
mod ask;
pub(crate) mod aws;
mod codex;
mod copilot;
mod cursor;
mod google;
mod userinfo;
pub(crate) mod vertex;
mod zai;

use crate::hooks::{ControlHttp, FreshLogin, HookError, LoginParams, VendorLogin};
use ask::label;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SecretText;
use claviger_oauth::{identity_from_claims, plan_from_claims};
use claviger_runtime::{BoxFuture, best_effort};

/// The names that an entry's `hook_urls` may have. Each is an address that a hook asks; having it is having the hook.
pub const HOOK_URLS: [&str; 13] = [
    anthropic::PROFILE,
    codex::DEVICE,
    codex::DEVICE_PAGE,
    copilot::PERSON,
    copilot::PLAN,
    cursor::PAGE,
    cursor::POLL,
    google::ANTIGRAVITY,
    google::CODE_ASSIST,
    userinfo::USERINFO,
    vertex::TOKEN,
    zai::BUSINESS,
    zai::LOGIN,
];

/// Something that a person may give to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginParam {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
}

/// What a person may give to a login of this provider. Anything else is a mistake, which the caller refuses.
pub fn login_params(profile: &ProviderProfile) -> &'static [LoginParam] {
    if profile.hook_urls.contains_key(google::CODE_ASSIST) { &google::PARAMS } else { &[] }
}

/// Completes what a login brought: identity, plan, project, a minted key. For providers without such a step this adds what the
/// tokens claim.
///
/// What only names the account may be missing afterwards, if the provider does not say it now. What requests need is an error.
///
/// Cancel safety: a dropped future may have sent requests; asking again with the same tokens does no harm.
pub fn after_login<'a>(
    profile: &'a ProviderProfile,
    fresh: FreshLogin,
    params: &'a LoginParams,
    http: &'a dyn ControlHttp,
) -> BoxFuture<'a, Result<FreshLogin, HookError>> {
    Box::pin(async move {
        let mut fresh = with_claims(profile, fresh);
        if let Some(url) = profile.hook_urls.get(anthropic::PROFILE) {
            best_effort("ask who has logged in", anthropic::name(url, &mut fresh, http).await);
        }
        if let Some(url) = profile.hook_urls.get(userinfo::USERINFO) {
            best_effort("ask who has logged in", userinfo::name(url, &mut fresh, http).await);
        }
        if let Some(url) = profile.hook_urls.get(copilot::PERSON) {
            best_effort("ask who has logged in", copilot::name(url, &mut fresh, http).await);
        }
        if let Some(url) = profile.hook_urls.get(copilot::PLAN) {
            best_effort("ask where requests of this plan go", copilot::place(url, &mut fresh, http).await);
        }
        if let Some(url) = profile.hook_urls.get(google::CODE_ASSIST) {
            google::code_assist(url, &mut fresh, params, http).await?;
        }
        if let Some(url) = profile.hook_urls.get(google::ANTIGRAVITY) {
            google::antigravity(url, &mut fresh, http).await?;
        }
        if let (Some(login), Some(business)) = (profile.hook_urls.get(zai::LOGIN), profile.hook_urls.get(zai::BUSINESS)) {
            zai::mint(login, business, &mut fresh, http).await?;
        }
        fresh.plan = fresh.plan.and_then(label);
        fresh.identity = fresh.identity.normalized();
        Ok(fresh)
    })
}

/// Begins a vendor's own login flow; `None` for a hook that is not known, or whose addresses the entry does not have.
pub fn vendor_login(hook: &str, profile: &ProviderProfile, seed: [u8; 64]) -> Option<Box<dyn VendorLogin>> {
    match hook {
        "codex-device" => Some(Box::new(codex::DeviceLogin::of(profile)?)),
        "cursor-poll" => Some(Box::new(cursor::PollLogin::of(profile, seed)?)),
        _ => None,
    }
}

/// Adds what the tokens say of their owner: the access token first, then the ID token, then the refresh token.
fn with_claims(profile: &ProviderProfile, mut fresh: FreshLogin) -> FreshLogin {
    let tokens = [Some(&fresh.access), fresh.id_token.as_ref(), fresh.refresh.as_ref()];
    let tokens: Vec<&str> = tokens.into_iter().flatten().map(SecretText::expose).collect();
    let claimed = tokens.iter().map(|token| identity_from_claims(&profile.identity, token));
    let identity = claimed.fold(std::mem::take(&mut fresh.identity), claviger_domain::identity::Identity::completed_by);
    let plan = tokens.iter().find_map(|token| plan_from_claims(&profile.identity, token));
    FreshLogin { identity, plan: fresh.plan.take().or(plan), ..fresh }
}
