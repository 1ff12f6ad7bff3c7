//! Where a provider tells what an account has left: its usage endpoint, and the headers of ordinary answers.

use crate::block::BlockScope;
use crate::classify::ResetFormat;
use crate::credential::CredentialKind;
use crate::family::matches_pattern;
use crate::origin::Endpoint;
use crate::usage::LimitRole;
use http::{HeaderName, HeaderValue, Method};
use std::time::Duration;

/// Where a provider tells what an account has left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRule {
    /// The usage endpoint; `None` where there is none.
    pub endpoint: Option<UsageEndpoint>,
    /// What is known of limits by their ids, the first match first.
    pub limits: Vec<LimitRule>,
    /// What the headers of ordinary answers tell.
    pub headers: Vec<HeaderTap>,
    /// The header in which an ordinary answer tells what the request cost, in US dollars.
    pub cost: Option<HeaderName>,
}

/// A request that a provider answers with what an account has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEndpoint {
    /// Where it goes.
    pub url: Endpoint,
    /// Where it goes when the first place does not have it, or for the part of the answer that the first one lacks.
    pub more: Vec<Endpoint>,
    /// The method.
    pub method: Method,
    /// The kinds of credential that it answers; never empty.
    pub kinds: Vec<CredentialKind>,
    /// The name of the code that reads the answer; `None` where there is none, and then it is not asked.
    pub parser: Option<String>,
    /// How the credential is written, where that differs from ordinary requests.
    pub scheme: UsageScheme,
    /// Headers beside the credential.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How the credential is written into a usage request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageScheme {
    /// As in ordinary requests.
    #[default]
    AsUsual,
    /// `Authorization: Bearer …`.
    Bearer,
    /// `Authorization`, with the bare value.
    Raw,
}

/// What is known of a limit by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// A pattern of ids, where `*` stands for any text.
    pub id: String,
    /// The name for people.
    pub label: Option<String>,
    /// The part it plays in selection.
    pub role: LimitRole,
    /// The length of its window where a report does not tell it.
    pub window: Option<Duration>,
}

/// One limit that the headers of ordinary answers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTap {
    /// The id of the limit.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// What it covers.
    pub scope: BlockScope,
    /// The part it plays in selection.
    pub role: LimitRole,
    /// The length of its window; `None` where it is unknown, or where [`HeaderTap::window_minutes`] tells it.
    pub window: Option<Duration>,
    /// A header with the length of the window in minutes, which counts before `window`.
    pub window_minutes: Option<HeaderName>,
    /// A header that says how much is used.
    pub used: Option<UsedHeader>,
    /// A header with the size of the limit.
    pub limit: Option<HeaderName>,
    /// A header with what is left of it.
    pub remaining: Option<HeaderName>,
    /// The unit of `limit` and `remaining`.
    pub unit: Option<String>,
    /// A header with the end of the window.
    pub reset: Option<(HeaderName, ResetFormat)>,
    /// A header with the provider's own word for how the limit stands.
    pub status: Option<StatusHeader>,
}

/// A header that says how much of a limit is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedHeader {
    /// The header.
    pub name: HeaderName,
    /// What stands for all of it: 1 for a fraction, 100 for a percentage.
    pub whole: u32,
}

/// A header with the provider's own word for how a limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusHeader {
    /// The header.
    pub name: HeaderName,
    /// Words, lower case, that say that nothing is left.
    pub exhausted: Vec<String>,
    /// Words, lower case, that say that little is left.
    pub warning: Vec<String>,
}

impl UsageRule {
    /// What is known of a limit.
    pub fn limit(&self, id: &str) -> Option<&LimitRule> {
        self.limits.iter().find(|rule| matches_pattern(&rule.id, id))
    }
}
