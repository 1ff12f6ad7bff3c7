//! Tokens as an endpoint hands them out.

use crate::claims::{Span, span_from_claims};
use claviger_domain::secret::AccessToken;
use claviger_domain::secret_kind;
use claviger_domain::time::Timestamp;
use std::fmt;
use std::time::Duration;

secret_kind!(
    /// An OAuth refresh token. It leaves the vault for its token endpoint alone.
    RefreshToken
);

/// The longest life that is believed. Some endpoints say decades, which would overflow dates and never be looked at again.
pub const LIFE_MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// A complete answer of a token endpoint (RFC 6749 §5.1).
pub struct TokenAnswer {
    /// The new access token.
    pub access: AccessToken,
    /// The new refresh token; `None` means that the previous one stays (RFC 6749 §6).
    pub refresh: Option<RefreshToken>,
    /// The life of the access token, at most [`LIFE_MAX`]; `None` where the answer does not say, or nothing usable.
    pub expires_in: Option<Duration>,
    /// The granted scope, where the answer names it.
    pub scope: Option<String>,
}

impl TokenAnswer {
    /// When the access token ends, counted from when the request was sent; `None` where nothing says.
    ///
    /// Without `expires_in`, a JWT's own life is taken: `exp - iat`, which no skewed clock distorts, else `exp`. A token that was
    /// just handed out has not ended: an `exp` in the past says only that two clocks disagree, and is left out.
    pub fn expires_at(&self, sent_at: Timestamp) -> Option<Timestamp> {
        let latest = sent_at.plus(LIFE_MAX);
        let ends_at = match (self.expires_in, span_from_claims(self.access.expose())) {
            (Some(life), _) | (None, Some(Span::Life(life))) => sent_at.plus(life),
            (None, Some(Span::Until(at))) if at > sent_at => at,
            (None, Some(Span::Until(_)) | None) => return None,
        };
        Some(ends_at.min(latest))
    }
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer")
            .field("expires_in", &self.expires_in)
            .field("rotated", &self.refresh.is_some())
            .finish_non_exhaustive()
    }
}
