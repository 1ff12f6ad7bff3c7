//! The cloud project of a Google login: requests must name it, and it is found, or made, by a conversation that is a vendor's own.

use super::LoginParam;
use super::ask::{Answer, Ask, below, label, segment, unreadable};
use crate::hooks::{ControlHttp, FreshLogin, HookError, LoginParams};
use claviger_domain::origin::Endpoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Code Assist as the Gemini CLI uses it, up to its version.
pub(super) const CODE_ASSIST: &str = "gemini-code-assist";
/// Code Assist as Antigravity uses it, up to its version.
pub(super) const ANTIGRAVITY: &str = "antigravity-code-assist";

/// What a person may give.
pub(super) const PARAMS: [LoginParam; 1] =
    [LoginParam { name: "project", what: "the id of a Google Cloud project, which a company's account and a paid plan need" }];

/// How long the vendor's own client waits between two looks at an operation, and how often it looks.
const CODE_ASSIST_PATIENCE: (Duration, u32) = (Duration::from_secs(5), 24);
/// The same for Antigravity: 30 s in all.
const ANTIGRAVITY_PATIENCE: (Duration, u32) = (Duration::from_secs(1), 30);

/// The tier that needs no project of one's own.
const FREE_TIER: &str = "free-tier";
/// The tier of accounts from before there were tiers.
const LEGACY_TIER: &str = "legacy-tier";
/// The tier of accounts whose organisation lets nobody ask.
const STANDARD_TIER: &str = "standard-tier";

const LOAD: &str = "the question for the cloud project";
const ONBOARD: &str = "the setting up of a cloud project";

/// What both questions say.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cloudaicompanion_project: Option<&'a str>,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier_id: Option<&'a str>,
}

#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    duet_project: Option<&'a str>,
    ide_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_type: Option<&'static str>,
}

impl<'a> Question<'a> {
    /// As the Gemini CLI asks.
    fn of_code_assist(project: Option<&'a str>) -> Self {
        let metadata = Metadata {
            duet_project: project,
            ide_type: "IDE_UNSPECIFIED",
            platform: Some("PLATFORM_UNSPECIFIED"),
            plugin_type: Some("GEMINI"),
        };
        Self { cloudaicompanion_project: project, metadata, tier_id: None }
    }

    /// As Antigravity asks.
    fn of_antigravity() -> Self {
        let metadata = Metadata { duet_project: None, ide_type: "ANTIGRAVITY", platform: None, plugin_type: None };
        Self { cloudaicompanion_project: None, metadata, tier_id: None }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Assist {
    current_tier: Option<Tier>,
    paid_tier: Option<Tier>,
    #[serde(default)]
    allowed_tiers: Vec<Tier>,
    #[serde(default)]
    ineligible_tiers: Vec<Ineligible>,
    cloudaicompanion_project: Option<Project>,
    project_id: Option<Project>,
    project: Option<Project>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tier {
    id: Option<String>,
    #[serde(default)]
    is_default: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ineligible {
    tier_id: Option<String>,
    validation_url: Option<String>,
}

/// A project, as an id or as an object with one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Project {
    Id(String),
    Object { id: Option<String> },
}

#[derive(Deserialize)]
struct Operation {
    name: Option<String>,
    #[serde(default)]
    done: bool,
    response: Option<Assist>,
    error: Option<Value>,
}

impl Project {
    fn id(self) -> Option<String> {
        let (Self::Id(id) | Self::Object { id: Some(id) }) = self else { return None };
        label(id)
    }
}

impl Assist {
    fn take_project(&mut self) -> Option<String> {
        let named = [self.cloudaicompanion_project.take(), self.project_id.take(), self.project.take()];
        named.into_iter().flatten().find_map(Project::id)
    }

    fn plan(&mut self) -> Option<String> {
        [self.paid_tier.take(), self.current_tier.take()].into_iter().flatten().find_map(|tier| tier.id).and_then(label)
    }
}

/// Finds the project as the Gemini CLI does: the account's own, else the one that the person names, else a new one of the free tier.
pub(super) async fn code_assist(
    url: &Endpoint,
    fresh: &mut FreshLogin,
    params: &LoginParams,
    http: &dyn ControlHttp,
) -> Result<(), HookError> {
    let given = params.get("project").map(String::as_str);
    let mut assist = load(url, fresh, Question::of_code_assist(given), http).await?;
    if assist.current_tier.is_some() {
        fresh.plan = assist.plan();
        fresh.identity.project_id = Some(assist.take_project().or_else(|| given.map(str::to_owned)).ok_or_else(project_missing)?);
        return Ok(());
    }
    let tier = assist.allowed_tiers.into_iter().find(|tier| tier.is_default).and_then(|tier| tier.id);
    let tier = tier.unwrap_or_else(|| LEGACY_TIER.to_owned());
    let given = match given {
        // A project of one's own would be billed.
        _ if tier == FREE_TIER => None,
        None => return Err(project_missing()),
        given => given,
    };
    let question = Question { tier_id: Some(&tier), ..Question::of_code_assist(given) };
    let made = onboard(url, fresh, question, CODE_ASSIST_PATIENCE, http).await?;
    fresh.plan = label(tier);
    fresh.identity.project_id = Some(made.or_else(|| given.map(str::to_owned)).ok_or_else(project_missing)?);
    Ok(())
}

/// Finds the project as Antigravity does: the account's own, else a new one of the free tier.
pub(super) async fn antigravity(url: &Endpoint, fresh: &mut FreshLogin, http: &dyn ControlHttp) -> Result<(), HookError> {
    let question = Question::of_antigravity();
    let mut assist = load(url, fresh, question, http).await?;
    if assist.current_tier.is_none() {
        if let Some(refusal) = ineligible(&assist) {
            return Err(refusal);
        }
        onboard(url, fresh, Question { tier_id: Some(FREE_TIER), ..question }, ANTIGRAVITY_PATIENCE, http).await?;
        assist = load(url, fresh, question, http).await?;
    }
    let project = assist.take_project().ok_or_else(|| {
        HookError::Refused("Google gives this account no project for Antigravity: open Antigravity once, or use another account".to_owned())
    })?;
    // The paid tier is told only to those who name the project.
    if assist.paid_tier.is_none() {
        assist = load(url, fresh, Question { cloudaicompanion_project: Some(&project), ..question }, http).await?;
    }
    fresh.plan = assist.plan();
    fresh.identity.project_id = Some(project);
    Ok(())
}

async fn load(url: &Endpoint, fresh: &FreshLogin, question: Question<'_>, http: &dyn ControlHttp) -> Result<Assist, HookError> {
    let ask = Ask::post(LOAD, &below(url, ":loadCodeAssist"), &question)?.authorized("Bearer", &fresh.access)?;
    let answer = ask.answer(http).await?;
    if is_fenced(&answer) {
        return Ok(Assist { current_tier: Some(Tier { id: Some(STANDARD_TIER.to_owned()), is_default: false }), ..Assist::default() });
    }
    answer.success()
}

/// Whether the organisation's perimeter (VPC Service Controls) refuses the question, which says nothing about requests.
fn is_fenced(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Refused {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        details: Vec<Detail>,
    }
    #[derive(Deserialize)]
    struct Detail {
        reason: Option<String>,
    }
    answer.status >= 400
        && answer
            .read::<Refused>()
            .is_ok_and(|refused| refused.error.details.iter().any(|detail| detail.reason.as_deref() == Some("SECURITY_POLICY_VIOLATED")))
}

/// Sets a project up, and waits for it. `None` where the answer names none.
async fn onboard(
    url: &Endpoint,
    fresh: &FreshLogin,
    question: Question<'_>,
    (pause, looks): (Duration, u32),
    http: &dyn ControlHttp,
) -> Result<Option<String>, HookError> {
    let ask = Ask::post(ONBOARD, &below(url, ":onboardUser"), &question)?.authorized("Bearer", &fresh.access)?;
    let mut operation: Operation = ask.json(http).await?;
    for _ in 0..looks {
        if operation.done {
            break;
        }
        http.clock().sleep(pause).await;
        let name = operation.name.as_deref().ok_or_else(|| unreadable(ONBOARD, "it names no operation"))?;
        let path = operation_path(name).ok_or_else(|| unreadable(ONBOARD, "the name of the operation leads elsewhere"))?;
        operation = Ask::get(ONBOARD, &below(url, &path))?.authorized("Bearer", &fresh.access)?.json(http).await?;
    }
    match operation {
        Operation { done: false, .. } => Err(HookError::TimedOut),
        Operation { error: Some(_), .. } => Err(HookError::Refused(
            "Google did not set a project up for this account: set one up at console.cloud.google.com and log in with --param project=ID"
                .to_owned(),
        )),
        Operation { response, .. } => Ok(response.and_then(|mut response| response.take_project())),
    }
}

/// The path of an operation, for instance `operations/abc`.
fn operation_path(name: &str) -> Option<String> {
    let mut segments = name.split('/');
    segments.all(|part| segment(part).is_some()).then(|| format!("/{name}"))
}

fn project_missing() -> HookError {
    HookError::Refused("this Google account needs a project of your own: log in again with --param project=PROJECT_ID".to_owned())
}

/// Why there is no free tier for this account, where that is said.
fn ineligible(assist: &Assist) -> Option<HookError> {
    if assist.allowed_tiers.iter().any(|tier| tier.id.as_deref() == Some(FREE_TIER)) {
        return None;
    }
    let reason = assist.ineligible_tiers.iter().find(|tier| tier.tier_id.as_deref() == Some(FREE_TIER))?;
    let page = reason.validation_url.as_deref().filter(|url| is_of_google(url));
    let hint = page.map_or_else(|| "use another account".to_owned(), |page| format!("confirm it at {page}, then log in again"));
    Some(HookError::Refused(format!("Google does not offer Antigravity to this account: {hint}")))
}

/// Whether a person may be sent to a page that an answer names.
fn is_of_google(url: &str) -> bool {
    let Ok(page) = url.parse::<Endpoint>() else { return false };
    let host = page.origin.host();
    url.starts_with("https://") && url.len() <= 2048 && (host == "google.com" || host.ends_with(".google.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_never_leads_to_another_path() {
        assert_eq!(operation_path("operations/abc-1.x").as_deref(), Some("/operations/abc-1.x"));
        for name in ["", "/x", "operations/../v1", "a//b", "operations/a?x=1", "operations/a#b"] {
            assert_eq!(operation_path(name), None, "{name}");
        }
    }

    #[test]
    fn a_person_is_sent_to_pages_of_google_alone() {
        assert!(is_of_google("https://accounts.google.com/verify?x=1"));
        for url in ["http://accounts.google.com/", "https://google.com.evil.example/", "https://evil.example/google.com", "javascript:x"] {
            assert!(!is_of_google(url), "{url}");
        }
    }
}
