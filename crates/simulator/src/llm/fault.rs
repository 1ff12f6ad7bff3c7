//! Plays a fault on an answer, and paces a stream: both only rearrange the steps of a finished reply.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Dialect, Refusal};
use crate::faults::LlmFault;
use crate::reply::{Reply, Step};
use crate::state::Pace;

/// What happens before an answer's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    Wait(u64),
    Hold,
    Cut,
}

/// The answer that a fault makes of a good one.
pub(super) fn play(fault: LlmFault, good: Reply, dialect: Dialect, now_ms: i64) -> (Reply, Before) {
    let refuse = |refusal| (dialect.refuse(refusal, now_ms), Before::Nothing);
    match fault {
        LlmFault::Status { status, headers, body } => {
            let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            let mut reply = Reply::whole(status, "application/json", body);
            if has_type {
                reply.headers.clear();
            }
            reply.headers.extend(headers);
            (reply, Before::Nothing)
        }
        LlmFault::QuotaExhausted { reset_in_s } => refuse(Refusal::Quota { reset_in_s }),
        LlmFault::RateLimited { retry_after_s } => refuse(Refusal::RateLimited { retry_after_s }),
        LlmFault::Overloaded => refuse(Refusal::Overloaded),
        LlmFault::Policy403 => refuse(Refusal::Policy),
        LlmFault::Unauthorized => refuse(Refusal::Unauthorized),
        LlmFault::DropBeforeResponse => (good, Before::Cut),
        LlmFault::DropMidStream { after_events } => (ended(good, after_events, Step::Cut), Before::Nothing),
        LlmFault::StallMidStream { after_events } => (ended(good, after_events, Step::Stall), Before::Nothing),
        LlmFault::ErrorMidStream { .. } if !good.is_stream() => refuse(Refusal::Internal),
        LlmFault::ErrorMidStream { after_events } => (ended(good, after_events, Step::Data(dialect.error_event())), Before::Nothing),
        LlmFault::Delay { ms } => (good, Before::Wait(ms)),
        LlmFault::HoldUntilReleased => (good, Before::Hold),
    }
}

/// The answer up to `after_events` events, or to the half of a whole body, and then `last`.
fn ended(good: Reply, after_events: usize, last: Step) -> Reply {
    let mut steps = VecDeque::new();
    let mut events = 0;
    for step in good.steps {
        match step {
            Step::Data(whole) if good.length.is_some() => {
                steps.extend([Step::Data(whole.slice(..whole.len() / 2)), Step::Flush]);
                break;
            }
            Step::Data(_) if events == after_events => break,
            Step::Data(event) => {
                events += 1;
                steps.extend([Step::Data(event), Step::Flush]);
            }
            other => steps.push_back(other),
        }
    }
    // Headers leave on their own, even where the cut comes before the first event.
    steps.extend([Step::Flush, last]);
    Reply { steps, ..good }
}

/// Puts the pause of the pace before each event of a stream.
pub(super) fn paced(reply: Reply, pace: Pace) -> Reply {
    if pace.delay_ms == 0 || !reply.is_stream() {
        return reply;
    }
    let pause = Duration::from_millis(pace.delay_ms);
    let mut steps = VecDeque::with_capacity(reply.steps.len() * 3 / 2);
    for step in reply.steps {
        if matches!(step, Step::Data(_)) {
            steps.push_back(Step::Pause(pause));
        }
        steps.push_back(step);
    }
    Reply { steps, ..reply }
}
