//! Saved resets: what some subscriptions give to reset a window before its time, listed and redeemed.
//!
//! Redeeming is never repeated here. The caller gives the id of the attempt and repeats with the same id, so that a lost
//! answer does not spend a second reset.

use crate::hooks::{ControlAnswer, ControlHttp, HookError, LiveCredential};
use crate::usage::request::{authorize, build, hook_error};
use crate::usage::{Node, ParseFault, Parser, json, slug};
use bytes::Bytes;
use claviger_domain::origin::Endpoint;
use claviger_domain::profile::{ProviderProfile, UsageEndpoint};
use claviger_domain::time::Timestamp;
use http::{Method, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

/// Most saved resets that are listed of one account. Nobody has been seen with more than a few.
pub const RESETS_MAX: usize = 64;

/// An id as one part of a path: such ids are letters, digits and dashes, and nothing else may make a path of it.
const ID_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-');

const LIST: &str = "the list of saved resets";

/// A program that gives resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetProgram {
    /// Credits of a ChatGPT subscription.
    CodexCredit,
    /// Grants of a Claude subscription.
    CedarEmber,
    /// The reset that a Claude subscription offers at a wall, one at a time.
    JuniperTide,
}

/// A saved reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedReset {
    /// The provider's id of it.
    pub id: String,
    /// Where it comes from.
    pub program: ResetProgram,
    /// Its name for people.
    pub title: Option<String>,
    /// Whether it can be redeemed, as far as the list tells.
    pub state: ResetState,
    /// How often it can be redeemed.
    pub left: u32,
    /// When it was given.
    pub granted_at: Option<Timestamp>,
    /// When it is lost.
    pub expires_at: Option<Timestamp>,
}

/// Whether a saved reset can be redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetState {
    /// It can.
    Available,
    /// It can, once a limit is hit.
    NeedsLimit,
    /// It is used up, paused, not begun or lost.
    Gone,
}

/// The saved resets of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedResets {
    /// How many can be redeemed; `None` where the provider did not look, which is not the same as none.
    pub available: Option<u32>,
    /// They themselves, as far as told.
    pub resets: Vec<SavedReset>,
    /// Before this time none can be redeemed.
    pub cooldown_until: Option<Timestamp>,
}

/// What came of a redemption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedeemOutcome {
    /// The windows are reset.
    Reset,
    /// This one had been redeemed before.
    AlreadyRedeemed,
    /// There is none to redeem.
    NoCredit,
    /// No limit is hit.
    NothingToReset,
    /// The provider answered with this status and said no more.
    Http(u16),
    /// The provider's own word, which is none of the known ones: lower case letters, digits and dashes.
    Other(String),
}

impl RedeemOutcome {
    /// The code in output: `reset`, `already_redeemed`, `no_credit`, `nothing_to_reset`, `http_429`, or the provider's word.
    pub fn code(&self) -> String {
        match self {
            Self::Reset => "reset".to_owned(),
            Self::AlreadyRedeemed => "already_redeemed".to_owned(),
            Self::NoCredit => "no_credit".to_owned(),
            Self::NothingToReset => "nothing_to_reset".to_owned(),
            Self::Http(status) => format!("http_{status}"),
            Self::Other(word) => word.clone(),
        }
    }

    /// Whether windows were reset, so that what is known of the account's usage and its blocks no longer holds.
    pub fn lifts_blocks(&self) -> bool {
        *self == Self::Reset
    }

    fn of_word(word: &str) -> Option<Self> {
        match word {
            "reset" => Some(Self::Reset),
            "already_redeemed" | "already_used" => Some(Self::AlreadyRedeemed),
            "no_credit" => Some(Self::NoCredit),
            "nothing_to_reset" | "not_limited" => Some(Self::NothingToReset),
            _ => None,
        }
    }
}

/// The reset to redeem: of those that can be, the one that is lost soonest, undated ones last.
pub fn pick(resets: &[SavedReset], now: Timestamp) -> Option<&SavedReset> {
    let usable = resets.iter().filter(|reset| reset.state == ResetState::Available && reset.left > 0);
    usable.filter(|reset| reset.expires_at.is_none_or(|at| at > now)).min_by_key(|reset| reset.expires_at.unwrap_or(Timestamp::FAR_FUTURE))
}

/// Whether anything is known of saved resets of a provider.
pub fn gives_resets(profile: &ProviderProfile) -> bool {
    Parser::of(profile).is_some_and(|parser| matches!(parser, Parser::Codex | Parser::Anthropic))
}

/// Lists the saved resets of an account; `Ok(None)` where its provider knows none.
///
/// Cancel safety: a dropped future may have sent its request, which changes nothing.
pub async fn list(credential: &LiveCredential<'_>, http: &dyn ControlHttp) -> Result<Option<SavedResets>, HookError> {
    let Some((endpoint, parser)) = endpoint_of(credential) else { return Ok(None) };
    let mut all = SavedResets::default();
    for (url, read) in list_places(endpoint, parser) {
        let mut request = build(Method::GET, &url, None)?;
        authorize(&mut request, endpoint, &url, credential)?;
        let answer = http.send(request).await?;
        let found = read_list(&answer, read, http.clock().now()).map_err(|fault| hook_error(LIST, &fault))?;
        all.available = match (all.available, found.available) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        all.resets.extend(found.resets);
        all.cooldown_until = all.cooldown_until.max(found.cooldown_until);
    }
    all.resets.truncate(RESETS_MAX);
    Ok(Some(all))
}

/// A reset that is in no list any more, for an attempt that is repeated: its answer was lost, and it may have been spent by it.
/// `None` where its provider has several programs, and nobody knows which one it was of.
pub fn unlisted(profile: &ProviderProfile, id: &str) -> Option<SavedReset> {
    let of_one_program = Parser::of(profile) == Some(Parser::Codex);
    of_one_program.then(|| SavedReset {
        id: id.to_owned(),
        program: ResetProgram::CodexCredit,
        title: None,
        state: ResetState::Gone,
        left: 0,
        granted_at: None,
        expires_at: None,
    })
}

/// Redeems a saved reset. `request_id` names the attempt: repeated with the same one, it spends no second reset where the
/// program knows such ids (all but [`ResetProgram::JuniperTide`]).
///
/// What the provider decides is an outcome and no error. Cancel safety: a dropped future may have redeemed.
pub async fn redeem(
    credential: &LiveCredential<'_>,
    reset: &SavedReset,
    request_id: &str,
    http: &dyn ControlHttp,
) -> Result<RedeemOutcome, HookError> {
    let Some((endpoint, _)) = endpoint_of(credential) else { return Ok(RedeemOutcome::NoCredit) };
    let answer = http.send(redeem_request(endpoint, credential, reset, request_id)?).await?;
    Ok(read_redeemed(answer.status, &answer.body))
}

fn endpoint_of<'a>(credential: &LiveCredential<'a>) -> Option<(&'a UsageEndpoint, Parser)> {
    let parser = Parser::of(credential.profile).filter(|_| gives_resets(credential.profile))?;
    let endpoint = credential.profile.usage.endpoint.as_ref()?;
    (!credential.is_key).then_some((endpoint, parser))
}

type ReadList = fn(&Node<'_>, Timestamp) -> Result<SavedResets, ParseFault>;

/// The lists stand beside the usage endpoint, wherever an overlay has moved that.
fn list_places(endpoint: &UsageEndpoint, parser: Parser) -> Vec<(Endpoint, ReadList)> {
    if parser == Parser::Codex {
        return vec![(beside(endpoint, "rate-limit-reset-credits"), codex_list)];
    }
    let with = |query: &str| Endpoint { query: query.to_owned(), ..endpoint.url.clone() };
    vec![(with("cedar_ember=1&skip_spend=1"), cedar_ember_list), (with("at_wall=1&skip_spend=1"), juniper_tide_list)]
}

/// The usage endpoint's address with another last part.
fn beside(endpoint: &UsageEndpoint, last: &str) -> Endpoint {
    let folder = endpoint.url.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Endpoint { path: format!("{folder}/{last}"), ..endpoint.url.clone() }
}

fn redeem_request(
    endpoint: &UsageEndpoint,
    credential: &LiveCredential<'_>,
    reset: &SavedReset,
    request_id: &str,
) -> Result<Request<Bytes>, HookError> {
    let organisation = || {
        let id = credential.identity.org_id.as_deref();
        let id = id.ok_or_else(|| HookError::Refused("the organisation of the account is not known: log in to it again".to_owned()))?;
        let path = format!("/api/organizations/{}/reset_rate_limits", utf8_percent_encode(id, ID_ESCAPED));
        Ok::<_, HookError>(Endpoint { path, query: String::new(), ..endpoint.url.clone() })
    };
    let (url, body) = match reset.program {
        ResetProgram::CodexCredit => {
            let body = json!({ "credit_id": reset.id, "redeem_request_id": request_id, "account_id": credential.identity.account_id });
            (beside(endpoint, "rate-limit-reset-credits/consume"), body)
        }
        ResetProgram::CedarEmber => (organisation()?, json!({ "program": "cedar_ember", "grant_id": reset.id, "request_id": request_id })),
        ResetProgram::JuniperTide => (organisation()?, json!({ "program": "juniper_tide" })),
    };
    let mut request = build(Method::POST, &url, Some(&body))?;
    authorize(&mut request, endpoint, &url, credential)?;
    Ok(request)
}

fn read_list(answer: &ControlAnswer, read: ReadList, now: Timestamp) -> Result<SavedResets, ParseFault> {
    if !answer.status.is_success() {
        return Err(ParseFault::Status(answer.status));
    }
    let value = json(&answer.body)?;
    read(&Node::root(&value), now)
}

fn codex_list(root: &Node<'_>, now: Timestamp) -> Result<SavedResets, ParseFault> {
    let mut resets = Vec::new();
    for row in root.clone().required()?.at("credits").items()? {
        let Some(id) = row.at("id").text()? else { continue };
        let expires_at = row.at("expires_at").time()?;
        let is_available = row.at("status").text()? == Some("available") && expires_at.is_none_or(|at| at > now);
        resets.push(SavedReset {
            id: id.to_owned(),
            program: ResetProgram::CodexCredit,
            title: row.at("title").word()?,
            state: if is_available { ResetState::Available } else { ResetState::Gone },
            left: u32::from(is_available),
            granted_at: row.at("granted_at").time()?,
            expires_at,
        });
    }
    let told = root.at("available_count").number()?.map(whole);
    Ok(SavedResets { available: Some(told.unwrap_or_else(|| count(&resets))), resets, cooldown_until: None })
}

/// `null` says that nobody looked.
fn cedar_ember_list(root: &Node<'_>, now: Timestamp) -> Result<SavedResets, ParseFault> {
    let told = root.at("cedar_ember").object()?;
    if !told.is_there() {
        return Ok(SavedResets::default());
    }
    let eligible = told.at("eligible").flag()? == Some(true);
    let mut resets = Vec::new();
    for grant in told.at("grants").items()? {
        let Some(id) = grant.at("id").text()? else { continue };
        let (starts_at, expires_at) = (grant.at("starts_at").time()?, grant.at("ends_at").time()?);
        let left = grant.at("resets_left").number()?.map_or(0, whole);
        let runs = starts_at.is_none_or(|at| at <= now) && expires_at.is_none_or(|at| at > now);
        let is_offered = eligible && left > 0 && runs && grant.at("paused").flag()? != Some(true);
        let state = match (is_offered, grant.at("usable_now").flag()?, grant.at("use_requires_limit").flag()?) {
            (false, _, _) | (true, Some(false), Some(false) | None) => ResetState::Gone,
            (true, Some(false), Some(true)) => ResetState::NeedsLimit,
            (true, Some(true) | None, _) => ResetState::Available,
        };
        let title = grant.at("label").word()?;
        resets.push(SavedReset {
            id: id.to_owned(),
            program: ResetProgram::CedarEmber,
            title,
            state,
            left,
            granted_at: starts_at,
            expires_at,
        });
    }
    Ok(SavedResets { available: Some(count(&resets)), resets, cooldown_until: told.at("cooldown_until").time()? })
}

fn juniper_tide_list(root: &Node<'_>, _now: Timestamp) -> Result<SavedResets, ParseFault> {
    let told = root.at("juniper_tide").object()?;
    if !told.is_there() {
        return Ok(SavedResets::default());
    }
    let is_available = told.at("eligible").flag()? == Some(true) && told.at("available").flag()? == Some(true);
    let reset = is_available.then(|| SavedReset {
        id: "juniper_tide".to_owned(),
        program: ResetProgram::JuniperTide,
        title: None,
        state: ResetState::Available,
        left: 1,
        granted_at: None,
        expires_at: None,
    });
    let resets: Vec<SavedReset> = reset.into_iter().collect();
    Ok(SavedResets { available: Some(count(&resets)), resets, cooldown_until: told.at("next_available_at").time()? })
}

fn count(resets: &[SavedReset]) -> u32 {
    resets.iter().filter(|reset| reset.state != ResetState::Gone).fold(0, |sum, reset| sum.saturating_add(reset.left))
}

/// A count; what is no count is zero or the most there can be.
fn whole(number: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast of a float saturates, which is what is wanted")]
    let count = number as u32;
    count
}

/// What the provider says of a redemption. A known word counts whatever the status; without one a failure is its status.
fn read_redeemed(status: StatusCode, body: &[u8]) -> RedeemOutcome {
    let value = json(body).unwrap_or_default();
    let root = Node::root(&value);
    let word = root.first(&["code", "result"]).text().ok().flatten();
    match word.map(|word| (RedeemOutcome::of_word(word), slug(word))) {
        Some((Some(outcome), _)) if outcome != RedeemOutcome::Reset || status.is_success() => outcome,
        Some((None, word)) if status.is_success() && !word.is_empty() => RedeemOutcome::Other(word),
        _ => RedeemOutcome::Http(status.as_u16()),
    }
}
