//! How a simulator is started: where it listens, whose clock it reads and how its token endpoint treats refresh tokens.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The time as the simulated provider sees it, in epoch milliseconds. It may jump; the simulator holds nothing against it.
pub type SimClockFn = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's own clock, for the demo and for tests that do not care about expiry.
pub fn system_clock() -> SimClockFn {
    Arc::new(|| {
        #[expect(clippy::disallowed_methods, reason = "the simulator knows no runtime crate; this is its only real clock")]
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
    })
}

/// Everything a simulator needs to start.
#[derive(Clone)]
pub struct SimulatorConfig {
    /// The address to listen on. `None` is a free port of 127.0.0.1.
    pub listen: Option<SocketAddr>,
    /// The provider's clock: expiry, grace windows, `Date` and reset times all read it.
    pub clock: SimClockFn,
    /// What the token endpoint does with a refresh token.
    pub token: TokenPolicy,
    /// Decides the texts of minted tokens, so that two simulators with different seeds never mint the same one.
    pub seed: u64,
}

impl Default for SimulatorConfig {
    /// A free port, the system clock, strict rotation and seed 1.
    fn default() -> Self {
        Self { listen: None, clock: system_clock(), token: TokenPolicy::default(), seed: 1 }
    }
}

impl fmt::Debug for SimulatorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatorConfig")
            .field("listen", &self.listen)
            .field("token", &self.token)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The rules of the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// What a refresh does to the refresh token that paid for it.
    pub rotation: Rotation,
    /// The life of a minted access token, in seconds.
    pub lifetime_s: u64,
    /// Whether a refresh revokes the family's earlier access tokens at once.
    pub revoke_old_access: bool,
    /// Leaves `refresh_token` out of the answer. The token sent stays valid then, whatever [`TokenPolicy::rotation`] says.
    pub omit_refresh_token: bool,
    /// Added to the clock in every `Date` header, in seconds.
    pub date_skew_s: i64,
    /// The error that reuse of a consumed refresh token is answered with.
    pub reuse_error: ReuseError,
}

impl Default for TokenPolicy {
    /// Strict rotation, one hour of life, nothing else changed.
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            lifetime_s: 3600,
            revoke_old_access: false,
            omit_refresh_token: false,
            date_skew_s: 0,
            reuse_error: ReuseError::InvalidGrant,
        }
    }
}

/// What a refresh does to the refresh token that paid for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Each refresh token is good once. Seeing a consumed one again kills the whole family: every access and refresh token.
    Strict,
    /// As strict, but inside the window the consumed token is answered with the same successor pair again.
    Grace {
        /// The window's length, counted from the first use, in seconds.
        grace_s: u64,
    },
    /// The refresh token stays the same and may be used any number of times.
    None,
}

/// The error that reuse of a consumed refresh token is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReuseError {
    /// `400 {"error":"invalid_grant"}` (RFC 6749 §5.2).
    InvalidGrant,
    /// `401 {"error":{"code":"refresh_token_reused"}}`, and `refresh_token_invalidated` for its dead family, as OpenAI
    /// answers Codex (observed 2026-11).
    RefreshTokenReused,
}
