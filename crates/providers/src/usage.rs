//! Usage as providers tell it: endpoint answers and response headers, read into limits.
//!
//! What a provider tells stands in its catalogue entry: the endpoint, the name of the parser of its answer, the taps on its
//! headers, and what its limits are called and are for. A parser is a pure function of an answer; one file a vendor.

mod anthropic;
mod balance;
mod codex;
mod copilot;
mod cursor;
mod google;
mod kimi;
mod minimax;
mod node;
mod opencode_go;
pub(crate) mod request;
mod shape;
mod taps;
mod xai;
mod zai;

pub use node::{BODY_MAX_BYTES, ParseFault};
pub use request::ask;

pub(crate) use node::{Node, slug};

use claviger_domain::profile::{ProviderProfile, UsageRule};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, UsageReport, UsageSource};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use shape::Found;

/// The code that reads a vendor's usage, named in the catalogue as `parser`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parser {
    /// `anthropic`.
    Anthropic,
    /// `openai-codex`.
    Codex,
    /// `google-gemini-cli`.
    GeminiCli,
    /// `google-antigravity`.
    Antigravity,
    /// `github-copilot`.
    Copilot,
    /// `kimi-code`.
    Kimi,
    /// `moonshot`.
    Moonshot,
    /// `moonshot-cn`.
    MoonshotCn,
    /// `zai`.
    Zai,
    /// `xai-oauth`.
    Xai,
    /// `opencode-go`.
    OpencodeGo,
    /// `openrouter`.
    Openrouter,
    /// `deepseek`.
    Deepseek,
    /// `minimax`.
    Minimax,
    /// `cursor`.
    Cursor,
    /// `litellm`.
    Litellm,
    /// `vercel-ai-gateway`.
    Vercel,
}

impl Parser {
    /// All parsers.
    pub const ALL: [Self; 17] = [
        Self::Anthropic,
        Self::Codex,
        Self::GeminiCli,
        Self::Antigravity,
        Self::Copilot,
        Self::Kimi,
        Self::Moonshot,
        Self::MoonshotCn,
        Self::Zai,
        Self::Xai,
        Self::OpencodeGo,
        Self::Openrouter,
        Self::Deepseek,
        Self::Minimax,
        Self::Cursor,
        Self::Litellm,
        Self::Vercel,
    ];

    /// The catalogue's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Codex => "openai-codex",
            Self::GeminiCli => "google-gemini-cli",
            Self::Antigravity => "google-antigravity",
            Self::Copilot => "github-copilot",
            Self::Kimi => "kimi-code",
            Self::Moonshot => "moonshot",
            Self::MoonshotCn => "moonshot-cn",
            Self::Zai => "zai",
            Self::Xai => "xai-oauth",
            Self::OpencodeGo => "opencode-go",
            Self::Openrouter => "openrouter",
            Self::Deepseek => "deepseek",
            Self::Minimax => "minimax",
            Self::Cursor => "cursor",
            Self::Litellm => "litellm",
            Self::Vercel => "vercel-ai-gateway",
        }
    }

    /// The parser with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|parser| parser.name() == name)
    }

    /// The parser of a provider's answers; `None` where its entry names none, or none that this binary has.
    pub fn of(profile: &ProviderProfile) -> Option<Self> {
        profile.usage.endpoint.as_ref()?.parser.as_deref().and_then(Self::from_name)
    }

    /// Reads the endpoint's answer. Never panics, and a fault never quotes the answer.
    ///
    /// A report without a limit and without a plan is [`ParseFault::Empty`], so that a changed answer is not taken for an
    /// account without limits.
    pub fn parse(self, status: StatusCode, body: &[u8], now: Timestamp) -> Result<UsageReport, ParseFault> {
        if !status.is_success() {
            return Err(ParseFault::Status(status));
        }
        let value = json(body)?;
        let report = self.reader()(&Node::root(&value), now)?.report(UsageSource::Endpoint, now);
        if report.limits.is_empty() && report.plan.is_none() { Err(ParseFault::Empty) } else { Ok(report) }
    }

    fn reader(self) -> fn(&Node<'_>, Timestamp) -> Result<Found, ParseFault> {
        match self {
            Self::Anthropic => anthropic::parse,
            Self::Codex => codex::parse,
            Self::GeminiCli => google::parse_gemini_cli,
            Self::Antigravity => google::parse_antigravity,
            Self::Copilot => copilot::parse,
            Self::Kimi => kimi::parse,
            Self::Moonshot => balance::parse_moonshot,
            Self::MoonshotCn => balance::parse_moonshot_cn,
            Self::Zai => zai::parse,
            Self::Xai => xai::parse,
            Self::OpencodeGo => opencode_go::parse,
            Self::Openrouter => balance::parse_openrouter,
            Self::Deepseek => balance::parse_deepseek,
            Self::Minimax => minimax::parse,
            Self::Cursor => cursor::parse,
            Self::Litellm => balance::parse_litellm,
            Self::Vercel => balance::parse_vercel,
        }
    }
}

/// What the headers of an ordinary answer say; `None` where they say nothing. Never panics.
///
/// Cheap where they say nothing: no allocation without one of the headers.
pub fn from_headers(profile: &ProviderProfile, status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<UsageReport> {
    let mut limits = Vec::new();
    taps::read(&profile.usage.headers, headers, now, &mut limits);
    match Parser::of(profile) {
        Some(Parser::Codex) => codex::headers(status, headers, &mut limits),
        Some(Parser::Copilot) => copilot::headers(headers, &mut limits),
        _ => {}
    }
    if limits.is_empty() {
        return None;
    }
    let mut report = Found::of(limits).report(UsageSource::Headers, now);
    named(&profile.usage, &mut report.limits);
    (!report.limits.is_empty()).then_some(report)
}

/// The row of a catalogue that stands for all limits which no other row names.
const ANY_LIMIT: &str = "*";

/// What the catalogue says of limits by their ids goes over what the code knows of them, save a length that was told.
///
/// A row for any limit at all is a default, which knows less than the code: its role does not count.
pub(crate) fn named(rule: &UsageRule, limits: &mut [Limit]) {
    for limit in limits {
        if let Some(known) = rule.limit(&limit.id) {
            if known.id != ANY_LIMIT {
                limit.role = known.role;
            }
            limit.window = limit.window.or(known.window);
            if let Some(label) = &known.label {
                limit.label.clone_from(label);
            }
        }
    }
}

/// The answer as JSON, if it is one of a size that is read.
pub(crate) fn json(body: &[u8]) -> Result<Value, ParseFault> {
    if body.len() > BODY_MAX_BYTES {
        return Err(ParseFault::TooLong);
    }
    serde_json::from_slice(body).map_err(|_syntax| ParseFault::NotJson)
}
