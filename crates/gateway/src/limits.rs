//! The named limits of the gateway, each with its reason.

use std::time::Duration;

/// Most bytes of a request's line and headers. Agents send under 8 KiB; the rest is room for long metadata headers.
pub const HEADERS_MAX_BYTES: usize = 64 * 1024;

/// Most headers of a request: the parser's own limit, which keeps its table on the stack. Agents send about 25.
pub const HEADERS_MAX: usize = 100;

/// The read buffer of one connection: a whole head of [`HEADERS_MAX_BYTES`], and large enough steps for bodies.
pub const READ_BUFFER_MAX_BYTES: usize = 128 * 1024;

/// How long a client may take to send a head. An idle connection is closed after the same time: longer than the four and
/// five seconds for which common HTTP clients keep one themselves.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request body may stand still. A client that uploads sends every few milliseconds.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long an answer's body may stand still. Providers send a ping every few seconds; reasoning models without pings have
/// been seen silent for minutes.
pub const ANSWER_IDLE_TIMEOUT: Duration = Duration::from_mins(15);

/// How long a client may leave an answer unread while more of it waits. A stopped agent must not hold a provider's stream for ever.
pub const CLIENT_STALL_TIMEOUT: Duration = Duration::from_mins(5);

/// How long the head of an answer may take. A long answer without a stream is computed before its head: 10 minutes is what
/// the vendors' own clients wait.
pub const ANSWER_HEAD_TIMEOUT: Duration = Duration::from_mins(10);

/// How long the beginning of an error's body may take; after it, the error is classed by what arrived.
pub const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one wait for a refresh may take. Token endpoints answer within a second; their own deadline is near 30 s.
pub const PENDING_TIMEOUT: Duration = Duration::from_secs(30);

/// Most questions to the broker for one request: twice the most attempts, so that refreshes and lost races have room and a
/// broker that never comes to an end does not hold the request.
pub const TURNS_MAX: usize = 2 * claviger_domain::attempt::ATTEMPTS_MAX;

/// Most bytes of one request that are kept for a replay. Agents send 30 to 90 kB, with images a few MB.
pub const REPLAY_REQUEST_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Most bytes of all requests together that are kept for a replay.
pub const REPLAY_TOTAL_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Most bytes of a request body: the largest file that a provider takes.
pub const BODY_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// The largest body that is read for its model and session; reading takes about a millisecond per MiB.
pub const PEEK_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of an unread body that are read and thrown away before a refusal, so that a client which writes before it reads
/// sees the refusal and not a reset connection.
pub const DISCARD_MAX_BYTES: u64 = 1024 * 1024;

/// How long throwing away may take.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Most connections of clients at once: a fleet of agents. A server lowers it to what its limit of open files affords.
pub const CONNECTIONS_MAX: usize = 4096;

/// How long open requests may go on after a stop: a long answer ends, a restart does not wait for ever.
pub const GRACE: Duration = Duration::from_secs(30);

/// The pause after a failed accept, which means that the process is out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits that an installation may set. The rest are constants of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`REPLAY_REQUEST_MAX_BYTES`].
    pub replay_request_max_bytes: usize,
    /// See [`REPLAY_TOTAL_MAX_BYTES`].
    pub replay_total_max_bytes: usize,
    /// See [`BODY_MAX_BYTES`].
    pub body_max_bytes: u64,
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`ANSWER_HEAD_TIMEOUT`].
    pub answer_head_timeout: Duration,
    /// See [`GRACE`].
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            replay_request_max_bytes: REPLAY_REQUEST_MAX_BYTES,
            replay_total_max_bytes: REPLAY_TOTAL_MAX_BYTES,
            body_max_bytes: BODY_MAX_BYTES,
            connections_max: CONNECTIONS_MAX,
            answer_head_timeout: ANSWER_HEAD_TIMEOUT,
            grace: GRACE,
        }
    }
}
