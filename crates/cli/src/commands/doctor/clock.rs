//! Whether the clock can be right, without asking anybody: expiries are worth as much as the clock is.

use super::Finding;
use claviger_admin::{AccountList, time_text};
use claviger_domain::time::Timestamp;
use std::time::Duration;

/// 2026-01-01T00:00:00Z: this program is younger, so that an earlier time is wrong.
const EARLIEST: Timestamp = Timestamp::from_secs(1_767_225_600);
/// How far ahead a row may be: a clock that is corrected by less is common, and harms nothing here.
const AHEAD_MAX: Duration = Duration::from_mins(5);

/// Compares the clock with what is known to be in the past.
pub fn look(now: Timestamp, accounts: Option<&AccountList>) -> Finding {
    let set = "set the clock, for instance with timedatectl set-ntp true";
    if now < EARLIEST {
        return Finding::fail("clock", format!("it says {}, which has passed", time_text::format(now)), set);
    }
    let newest = accounts.and_then(|list| list.accounts.iter().max_by_key(|account| account.created_at));
    match newest {
        Some(account) if account.created_at > now.plus(AHEAD_MAX) => {
            let (then, now) = (time_text::format(account.created_at), time_text::format(now));
            Finding::warn("clock", format!("it says {now}, and account {} was stored at {then}", account.id), set)
        }
        _ => Finding::ok("clock", time_text::format(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;
    use claviger_admin::{AccountView, IdentityView, SourceWord, StandingView};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn stored_at(created_at: Timestamp) -> AccountList {
        let account = AccountView {
            id: 1,
            provider: "openai".to_owned(),
            kind: "api_key".to_owned(),
            label: None,
            identity: IdentityView::default(),
            standing: StandingView::Active,
            blocks: Vec::new(),
            priority: 0,
            masked_key: None,
            options: claviger_admin::OptionsView::default(),
            plan: None,
            source: SourceWord::Login,
            grant: 1,
            grant_revision: 1,
            expires_at: None,
            follows: None,
            notice: None,
            logged_in_at: None,
            login_ends_at: None,
            created_at,
        };
        AccountList { accounts: vec![account] }
    }

    #[test]
    fn a_clock_before_this_program_or_before_its_rows_is_wrong() {
        assert_eq!(look(NOW, None).verdict, Verdict::Ok);
        assert_eq!(look(Timestamp::from_secs(0), None).verdict, Verdict::Fail);
        assert_eq!(look(NOW, Some(&stored_at(NOW))).verdict, Verdict::Ok);
        assert_eq!(look(NOW, Some(&stored_at(NOW.plus(AHEAD_MAX)))).verdict, Verdict::Ok);
        assert_eq!(look(NOW, Some(&stored_at(NOW.plus(AHEAD_MAX * 2)))).verdict, Verdict::Warn);
    }
}
