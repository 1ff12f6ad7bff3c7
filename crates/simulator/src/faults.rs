//! The ways a provider can fail, as values that a test queues.

use serde::{Deserialize, Serialize};

/// How one request to the token endpoint goes wrong.
///
/// "Commits" means that the refresh token was redeemed although the answer is bad or lost: the dangerous half of the
/// list, because the client cannot tell it from the other half. Over HTTP (`/__simulator/fault`) the names are in
/// snake case: `"hang_after_commit"`, `{"hold_ms":1000}`, `{"rate_limited":{"retry_after_s":2}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFault {
    /// 429 with `Retry-After` and a JSON error. Does not commit.
    RateLimited {
        /// The value of `Retry-After`, in seconds.
        retry_after_s: u64,
    },
    /// This status with a JSON error body. Does not commit.
    ServerError(u16),
    /// This status with an HTML page that even says "revoked". Does not commit.
    Html(u16),
    /// 200 and bytes that are not JSON. Commits.
    Garbage,
    /// 200 and half of the good answer under the `Content-Length` of the whole, then the connection closes. Commits.
    Truncated,
    /// 200 and one endless JSON string. Commits.
    Huge {
        /// The size of the body, in bytes.
        bytes: u64,
    },
    /// The good answer, dripped. Commits.
    Slow {
        /// The size of a drop, in bytes.
        chunk_bytes: usize,
        /// The pause before each drop, in milliseconds.
        chunk_ms: u64,
    },
    /// Commits, then never answers and keeps the connection open.
    HangAfterCommit,
    /// Commits, then closes the connection without an answer.
    CloseAfterCommit,
    /// Closes the connection as soon as the headers were read. Does not commit.
    CloseBeforeRead,
    /// Leaves the body unread until [`crate::Control::release`], then closes the connection. Does not commit.
    HoldBeforeRead,
    /// Commits, sends half of the good answer, and keeps the connection open.
    StallHalfway,
    /// `400 {"error":"invalid_grant"}`, although the token is good. Does not commit.
    InvalidGrant,
    /// This status with `{"error": ...}`. Does not commit.
    OAuthError {
        /// The HTTP status.
        status: u16,
        /// The OAuth error code.
        error: String,
    },
    /// Commits at once and holds the good answer for this many milliseconds.
    HoldMs(u64),
    /// Commits at once and holds the good answer until [`crate::Control::release`].
    HoldUntilReleased,
    /// 200 and JSON whose fields have the wrong types. Commits.
    WrongTypes,
    /// A good access token beside `"refresh_token": ""`. Commits; the refresh token sent stays valid.
    EmptyRefreshToken,
    /// The good answer behind a byte order mark. Commits.
    Bom,
    /// 200, `Content-Encoding: gzip`, and a body that unpacks to this many bytes. Commits.
    GzipBomb {
        /// The size after unpacking.
        bytes: u64,
    },
    /// 200 with an OAuth error in the body. Does not commit.
    OkWithError,
}

/// How one request to a model goes wrong. Refusals are written in the dialect of the request.
///
/// Names over HTTP are in snake case, as for [`TokenFault`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LlmFault {
    /// Exactly this answer, whatever the dialect.
    Status {
        /// The HTTP status.
        status: u16,
        /// The headers, beside `Date` and the length.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The account's usage is used up, as the vendor of the dialect says it.
    QuotaExhausted {
        /// When it comes back, in seconds from now.
        reset_in_s: u64,
    },
    /// Too many requests for the moment.
    RateLimited {
        /// The value of `Retry-After`, in seconds.
        retry_after_s: u64,
    },
    /// The vendor is out of capacity (529 or 503).
    Overloaded,
    /// A policy forbids this account the request (403).
    Policy403,
    /// A transient false 401 on a token that is good.
    Unauthorized,
    /// The connection closes without an answer.
    DropBeforeResponse,
    /// The connection closes inside the answer. Without a stream: after half of the body.
    DropMidStream {
        /// The events sent before it.
        after_events: usize,
    },
    /// An error event of the dialect ends the stream. Without a stream: a plain 500.
    ErrorMidStream {
        /// The events sent before it.
        after_events: usize,
    },
    /// The answer stops and the connection stays open. Without a stream: after half of the body.
    StallMidStream {
        /// The events sent before it.
        after_events: usize,
    },
    /// A good answer, late.
    Delay {
        /// How late, in milliseconds.
        ms: u64,
    },
    /// A good answer that waits for [`crate::Control::release`].
    HoldUntilReleased,
}
