//! What happens without anybody asking, as it crosses a wire.

use crate::time_text;
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest that a question for events waits for one: a call over the socket must end, and the next one follows at once.
pub const EVENTS_WAIT_MAX: Duration = Duration::from_secs(30);

/// A question for events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsAsk {
    /// The stream of the cursor: [`EventPage::stream`] of the last answer. Another one than that of the process that answers
    /// counts as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only events after this one: [`EventPage::last`] of the last answer. Absent for all that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// How long to wait for one where there is none yet, in seconds; at most [`EVENTS_WAIT_MAX`].
    #[serde(default)]
    pub wait_s: u64,
}

/// Some events, oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EventPage {
    /// Names the process that counts these events; another one counts anew.
    pub stream: String,
    /// They themselves.
    pub events: Vec<EventView>,
    /// How many after the cursor were no longer kept.
    pub missed: u64,
    /// The cursor from here: the id of the last event there has been, 0 for none.
    pub last: u64,
}

/// One event. No secret in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// Grows by one with every event of a process; starts anew with it.
    pub id: u64,
    /// When it happened.
    #[serde(with = "time_text")]
    pub at: Timestamp,
    /// The account's provider.
    pub provider: String,
    /// The account.
    pub account: i64,
    /// The name for people: its label, else its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened to an account. Readers skip kinds that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// Its login is dead: only a new one helps. What a person switches off is no such event.
    AccountDisabled {
        /// Why, for instance `oauth refresh failed: …`.
        cause: String,
    },
    /// It has a new login, or was taken over.
    AccountRenewed {
        /// How.
        how: Renewal,
    },
    /// A part of it is set aside. Requests that meet the same block are no further events.
    AccountBlocked {
        /// What: `account`, `tier:NAME` or `model:NAME`.
        scope: String,
        /// Until when.
        #[serde(with = "time_text")]
        until: Timestamp,
        /// Whether nobody named that end.
        guessed: bool,
        /// Why.
        reason: String,
    },
    /// A part of it is back.
    AccountUnblocked {
        /// What: `account`, `tier:NAME` or `model:NAME`.
        scope: String,
        /// Whether the time was over, or something has lifted it before.
        why: Unblocking,
    },
    /// The use of a limit rose past 75, 90 or 100 per cent, for the first time in its window.
    UsageThreshold {
        /// The limit's id.
        limit: String,
        /// Its name for people.
        label: String,
        /// The highest that was passed: 75, 90 or 100.
        percent: u8,
        /// The used fraction; absent where only a status was told.
        used: Option<f64>,
        /// When the window ends.
        #[serde(with = "time_text::option")]
        resets_at: Option<Timestamp>,
    },
    /// A window has ended with something unused.
    ResetWasted {
        /// The limit's id.
        limit: String,
        /// Its name for people.
        label: String,
        /// The fraction that nobody used, from 0 to 1.
        unused: f64,
        /// When the window ended.
        #[serde(with = "time_text")]
        ended_at: Timestamp,
    },
    /// Its login ends soon, however often it is refreshed.
    LoginEnds {
        /// When.
        #[serde(with = "time_text")]
        ends_at: Timestamp,
    },
    /// It is in quarantine: the vault was put back from an older copy.
    AccountQuarantined {
        /// Since when.
        #[serde(with = "time_text")]
        since: Timestamp,
    },
    /// Its key stands elsewhere, and cannot be had from there.
    ValueBroken {
        /// What was tried and what came of it.
        cause: String,
    },
}

impl EventKind {
    /// The words of all kinds, as filters name them.
    pub const WORDS: [&'static str; 9] = [
        "account_disabled",
        "account_renewed",
        "account_blocked",
        "account_unblocked",
        "usage_threshold",
        "reset_wasted",
        "login_ends",
        "account_quarantined",
        "value_broken",
    ];

    /// The word of this kind, as it stands in `event`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AccountDisabled { .. } => "account_disabled",
            Self::AccountRenewed { .. } => "account_renewed",
            Self::AccountBlocked { .. } => "account_blocked",
            Self::AccountUnblocked { .. } => "account_unblocked",
            Self::UsageThreshold { .. } => "usage_threshold",
            Self::ResetWasted { .. } => "reset_wasted",
            Self::LoginEnds { .. } => "login_ends",
            Self::AccountQuarantined { .. } => "account_quarantined",
            Self::ValueBroken { .. } => "value_broken",
        }
    }
}

/// How an account got a new login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renewal {
    /// Somebody has logged in, or given a new key.
    Login,
    /// It was taken over from another tool, or out of quarantine.
    Take,
    /// The place where its secret stands has a new one.
    Elsewhere,
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unblocking {
    /// Its time was over.
    Ended,
    /// A report, a probe, a redeemed reset or a person has lifted it before.
    Lifted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_tagged_by_its_word() {
        let at = Timestamp::from_secs(1_800_000_000);
        let (limit, label, scope) = (|| "5h".to_owned(), || "5 h".to_owned(), || "account".to_owned());
        let kinds = [
            EventKind::AccountDisabled { cause: "c".into() },
            EventKind::AccountRenewed { how: Renewal::Take },
            EventKind::AccountBlocked { scope: scope(), until: at, guessed: false, reason: "r".into() },
            EventKind::AccountUnblocked { scope: scope(), why: Unblocking::Ended },
            EventKind::UsageThreshold { limit: limit(), label: label(), percent: 90, used: None, resets_at: Some(at) },
            EventKind::ResetWasted { limit: limit(), label: label(), unused: 0.5, ended_at: at },
            EventKind::LoginEnds { ends_at: at },
            EventKind::AccountQuarantined { since: at },
            EventKind::ValueBroken { cause: "c".into() },
        ];
        assert_eq!(kinds.each_ref().map(EventKind::word), EventKind::WORDS);
        for kind in kinds {
            let event = EventView { id: 7, at, provider: "p".into(), account: 3, name: None, kind };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!((&json["event"], &json["account"]), (&event.kind.word().into(), &3.into()));
            assert_eq!(serde_json::from_value::<EventView>(json).unwrap(), event);
        }
    }
}
