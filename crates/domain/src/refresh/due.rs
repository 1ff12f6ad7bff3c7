//! When a token is due: early and with jitter for the sweep, late for a request.

use crate::time::Timestamp;
use std::time::Duration;

/// The sweep's shortest lead: enough for several tries before a request notices.
pub const LEAD_MIN: Duration = Duration::from_mins(5);
/// A request's longest lead: a token that ends within it may end on its way.
pub const REQUEST_LEAD_MAX: Duration = Duration::from_mins(1);

/// The most that a token must have left to be sent: one with less may end on its way.
pub const SEND_MARGIN_MAX: Duration = Duration::from_secs(5);

fn life(issued_at: Timestamp, expires_at: Timestamp) -> Duration {
    expires_at.until(issued_at)
}

/// Whether the sweep refreshes a token now: lead = min(max(5 min, 15–30 % of its life), half of its life).
///
/// `jitter` 0 gives 15 %, 255 gives 30 %, so that tokens that were issued together are not refreshed together.
pub fn due_for_sweep(issued_at: Timestamp, expires_at: Timestamp, jitter: u8, now: Timestamp) -> bool {
    let life = life(issued_at, expires_at);
    let share = 15 + 15 * u32::from(jitter) / 255;
    let lead = (life.saturating_mul(share) / 100).max(LEAD_MIN).min(life / 2);
    expires_at.until(now) <= lead
}

/// Whether a request has a token refreshed first: less than min(60 s, a quarter of its life) is left, so that a fresh
/// short-lived token never triggers it.
pub fn due_for_request(issued_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    expires_at.until(now) <= request_lead(issued_at, expires_at)
}

/// The lead of [`due_for_request`].
pub fn request_lead(issued_at: Timestamp, expires_at: Timestamp) -> Duration {
    REQUEST_LEAD_MAX.min(life(issued_at, expires_at) / 4)
}

/// Whether a token is still sent: more than min(5 s, an eighth of its life) is left, so that a short-lived one is sent at all.
///
/// One that is not sent any more is due, for a request and for the sweep: nobody waits for a refresh that finds nothing to do.
pub fn sendable(issued_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    expires_at.until(now) > SEND_MARGIN_MAX.min(life(issued_at, expires_at) / 8)
}
