//! What an answer of a provider means for the credential that was used.

use crate::block::BlockScope;
use crate::credential::CredentialKind;
use crate::time::Timestamp;
use http::HeaderMap;

/// Most bytes of an error body that are read as evidence; vendors' error bodies are a few hundred bytes.
pub const EVIDENCE_BODY_MAX_BYTES: usize = 64 * 1024;

/// What was seen of one attempt.
#[derive(Debug, Clone, Copy)]
pub enum Evidence<'a> {
    /// An answer arrived.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: &'a HeaderMap,
        /// The beginning of its body, at most [`EVIDENCE_BODY_MAX_BYTES`]; empty where the status is a success.
        body: &'a [u8],
    },
    /// No connection came about: nothing was sent.
    Unreachable,
    /// The connection ended before an answer.
    Lost,
}

/// What an attempt means for its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// The credential was accepted.
    Accepted,
    /// The credential was refused.
    Unauthorized,
    /// The account has used up a quota.
    UsageLimit {
        /// What it covers.
        scope: BlockScope,
        /// When it ends, where the provider says so.
        until: Option<Timestamp>,
    },
    /// The account may not do this: plan, organisation, region, policy.
    Policy {
        /// What it covers.
        scope: BlockScope,
    },
    /// Too many requests in a short time.
    RateLimited {
        /// When it ends, where the provider says so.
        until: Option<Timestamp>,
    },
    /// Too many requests at once.
    Concurrency,
    /// The provider is overloaded.
    Capacity,
    /// The request or the provider is at fault, not the credential.
    Unrelated,
    /// No connection came about: nothing was sent.
    Unreachable,
    /// The connection ended before an answer.
    Lost,
}

/// What a matching rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// [`Class::Unauthorized`]
    Unauthorized,
    /// [`Class::UsageLimit`]
    UsageLimit,
    /// [`Class::Policy`]
    Policy,
    /// [`Class::RateLimited`]
    RateLimited,
    /// [`Class::Concurrency`]
    Concurrency,
    /// [`Class::Capacity`]
    Capacity,
    /// [`Class::Unrelated`]
    Unrelated,
}

/// The scope that a rule gives to its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleScope {
    /// The account as a whole.
    Account,
    /// One meter.
    Tier(String),
    /// The model that was asked for.
    RequestedModel,
}

/// One row of a class table. All conditions that are present must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRule {
    /// Statuses; empty for any status of 400 and above. Only a row that names a status below 400 is tried on it.
    pub statuses: Vec<u16>,
    /// Only for this kind of credential.
    pub kind: Option<CredentialKind>,
    /// Fragments of which one must occur in the model that was asked for; empty for any request.
    pub models: Vec<String>,
    /// A header, and the values (lower case) of which one must be its value.
    pub header: Option<(http::HeaderName, Vec<String>)>,
    /// A dotted path into the JSON body (`error.type`; `details[]` visits each item; a list at the root is always
    /// visited), and the values (lower case) of which one must be found.
    pub json: Option<(String, Vec<String>)>,
    /// Fragments (lower case) of which one must occur in the body.
    pub text: Vec<String>,
    /// What it means.
    pub verdict: Verdict,
    /// What its block covers.
    pub scope: RuleScope,
    /// Where the end of the block stands, besides the generic places.
    pub resets: Vec<ResetPlace>,
}

/// Where the end of a block stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetPlace {
    /// A header name or a dotted JSON path.
    pub at: ResetSource,
    /// How it is written.
    pub format: ResetFormat,
}

/// The kind of place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetSource {
    /// A header.
    Header(http::HeaderName),
    /// A header that counts only while another one has this value (lower case; numbers are compared as numbers): the
    /// reset of a rejected window.
    HeaderIf {
        /// The header with the reset.
        header: http::HeaderName,
        /// The header that decides.
        when: http::HeaderName,
        /// The value that it must have.
        is: String,
    },
    /// A dotted path into the JSON body.
    Json(String),
}

/// How the end of a block is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetFormat {
    /// Seconds since the epoch.
    EpochSeconds,
    /// Milliseconds since the epoch.
    EpochMillis,
    /// Seconds from now, fractions allowed.
    Seconds,
    /// RFC 3339.
    DateTime,
    /// Text such as `34.07s`, `6m0s`, `18h31m10s`, `12ms`.
    DurationText,
}

impl ResetFormat {
    /// The end that a text in this format names; `None` where it is none. Never panics, and is not capped.
    pub fn read(self, text: &str, now: Timestamp) -> Option<Timestamp> {
        reset::read(text, self, now)
    }
}

/// The rows of a provider, first match wins, before the defaults of [`classify`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassTable {
    /// The rows.
    pub rules: Vec<ClassRule>,
    /// How far a stamp without a zone is ahead of UTC, in minutes, where the provider is known to mean one zone; such a stamp
    /// is as good as any other then.
    pub stamp_offset_minutes: Option<i32>,
}

/// The facts beside the evidence.
#[derive(Debug, Clone, Copy)]
pub struct ClassifyContext<'a> {
    /// The kind of credential that was used.
    pub kind: CredentialKind,
    /// The model that was asked for, where known.
    pub model: Option<&'a str>,
    /// Now, for waits that are written as durations.
    pub now: Timestamp,
}

/// Says what an attempt means. Never fails: an unreadable body is classed by its status.
pub fn classify(table: &ClassTable, context: ClassifyContext<'_>, evidence: Evidence<'_>) -> Class {
    match evidence {
        Evidence::Unreachable => Class::Unreachable,
        Evidence::Lost => Class::Lost,
        Evidence::Answer { status, headers, body } => answer::classify_answer(table, context, status, headers, body),
    }
}

mod answer;
mod body;
mod reset;
mod wait;

pub use answer::THROTTLE_MAX;
pub use reset::RESET_MAX;

#[cfg(test)]
mod tests;
