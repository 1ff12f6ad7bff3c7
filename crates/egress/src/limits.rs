//! The named limits of outbound connections, each with its reason.

use std::time::Duration;

/// The longest that resolving, dialling and the TLS handshake may take together. A healthy provider needs well under a
/// second; ten leave room for a slow resolver and a second address.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the first address family has before the other is tried beside it (RFC 8305 §5 recommends 250 ms).
pub const FALLBACK_DELAY: Duration = Duration::from_millis(250);

/// Most addresses of one name that are dialled. Large providers publish up to eight; all are checked, whatever their number.
pub const ADDRESSES_MAX: usize = 16;

/// Most bytes of a proxy's answer to `CONNECT`; real ones are under 1 KiB, with what some say about themselves.
pub const PROXY_ANSWER_MAX_BYTES: usize = 16 * 1024;

/// Most proxies for which idle connections are kept; past it those of all proxies are forgotten. An account has one proxy, and
/// most installations have none.
pub const PROXY_POOLS_MAX: usize = 256;

/// How long an idle connection is kept. Common load balancers close theirs after 60 to 400 s, and a short-lived pool
/// forgets a network that is gone.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Most idle HTTP/1.1 connections kept for one origin: a team's burst of agents, within common descriptor limits.
pub const POOL_IDLE_MAX_PER_HOST: usize = 256;

/// Idle time before the kernel probes a peer. A stream that thinks for minutes is kept open by the probes through NATs
/// that forget after 60 s or more.
pub const TCP_KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Time between two probes.
pub const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Unanswered probes until a connection counts as lost: with the idle time, one minute.
pub const TCP_KEEPALIVE_PROBES: u32 = 3;

/// How long sent bytes may stay unacknowledged. The kernel's own limit is near 16 minutes, for which a VPN change would
/// black-hole every pooled connection.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two HTTP/2 pings, also while idle: finds a black-holed connection before a request is put on it.
pub const H2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long an HTTP/2 ping may stay unanswered.
pub const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of an answer's header section, and of one read. The largest seen from a provider is under 8 KiB.
pub const HEADERS_MAX_BYTES: u32 = 64 * 1024;

/// Most headers of an answer; twice the usual 50 of a provider behind a content network.
pub const HEADERS_MAX: usize = 100;

/// Most bytes of a token endpoint's answer; real ones are under 8 KiB. The spill slot is sized after it.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Turns in which an answer that has arrived is still read after its deadline: an answer of [`ANSWER_MAX_BYTES`] comes in reads of
/// at least 8 KiB, each handed on in a turn or two.
pub const LATE_READ_ROUNDS: usize = 64;

/// How long after its deadline an answer that waits in the socket is read: long beside the pause in which a busy machine lets the
/// runtime tell of it, short beside the deadline itself.
pub const LATE_READ_WITHIN: Duration = Duration::from_secs(5);
