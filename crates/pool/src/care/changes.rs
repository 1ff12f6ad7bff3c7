//! What is news between two looks at an account. Pure: two looks in, events out.
//!
//! Events follow from differences and not from what was done, so that a thousand requests which meet one block are one event, and
//! what another process does is told like what this one does.

use claviger_admin::{EventKind, LOGIN_ENDS_SOON, Renewal, Unblocking};
use claviger_domain::block::{Block, BlockEnd};
use claviger_domain::time::Timestamp;
use claviger_store::Fingerprint;
use std::time::Duration;

/// Blocks with less left when they are first seen are throttles: they are over before anybody has read of them.
pub(super) const BLOCK_TOLD_MIN: Duration = Duration::from_mins(1);
/// What happened so shortly before this process began to serve happened because it began: opening a vault that was put back from a copy.
const OPENING: Duration = Duration::from_mins(1);

/// An account at one look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) health: Health,
    pub(super) logged_in_at: Option<Timestamp>,
    /// The key, where it is one that stands in the vault.
    pub(super) key: Option<Fingerprint>,
    pub(super) is_followed: bool,
    pub(super) quarantined: Option<Timestamp>,
    /// When its login ends, where that is known.
    pub(super) login_ends_at: Option<Timestamp>,
    /// The end that was announced.
    pub(super) announced_end: Option<Timestamp>,
    /// The blocks that hold.
    pub(super) blocks: Vec<Block>,
}

/// Whether an account can serve.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Health {
    Live,
    /// Its login is dead.
    Dead {
        cause: String,
        since: Timestamp,
    },
    /// Its key stands elsewhere and cannot be had.
    Broken {
        cause: String,
    },
    /// A person has switched it off: nothing of it is news.
    Off,
}

/// What is news. `before` is absent for an account that is seen for the first time, and `began` is when this process did.
///
/// Leaves in `after` only those blocks that were told, now or before, so that each is told once and its end is told as well.
pub(super) fn changes(before: Option<&Seen>, after: &mut Seen, (began, now): (Timestamp, Timestamp)) -> Vec<EventKind> {
    let before = before.filter(|before| before.health != Health::Off);
    if after.health == Health::Off {
        after.blocks.clear();
        return Vec::new();
    }
    let mut news = Vec::new();
    health(before, after, began, &mut news);
    if let Some(how) = before.and_then(|before| renewal(before, after)) {
        news.push(EventKind::AccountRenewed { how });
    }
    let was_free = before.map_or_else(|| after.quarantined >= Some(began.minus(OPENING)), |before| before.quarantined.is_none());
    if let Some(since) = after.quarantined.filter(|_| was_free) {
        news.push(EventKind::AccountQuarantined { since });
    }
    after.announced_end = before.and_then(|before| before.announced_end);
    let is_soon = |at: &Timestamp| *at > now && *at <= now.plus(LOGIN_ENDS_SOON);
    if let Some(ends_at) = after.login_ends_at.filter(is_soon).filter(|at| after.announced_end != Some(*at)) {
        after.announced_end = Some(ends_at);
        news.push(EventKind::LoginEnds { ends_at });
    }
    blocks(before, after, now, &mut news);
    news
}

fn health(before: Option<&Seen>, after: &Seen, began: Timestamp, news: &mut Vec<EventKind>) {
    match (before.map(|before| &before.health), &after.health) {
        (Some(Health::Dead { .. }), Health::Dead { .. })
        | (Some(Health::Broken { .. }), Health::Broken { .. })
        | (_, Health::Live | Health::Off) => {}
        // One that was dead when this process began was told then.
        (None, Health::Dead { since, .. }) if *since < began => {}
        (_, Health::Dead { cause, .. }) => news.push(EventKind::AccountDisabled { cause: format!("oauth refresh failed: {cause}") }),
        (_, Health::Broken { cause }) => news.push(EventKind::ValueBroken { cause: cause.clone() }),
    }
}

/// How an account got a new secret in another way than by a refresh.
fn renewal(before: &Seen, after: &Seen) -> Option<Renewal> {
    if after.health != Health::Live {
        return None;
    }
    let is_taken = (before.is_followed && !after.is_followed) || (before.quarantined.is_some() && after.quarantined.is_none());
    let has_key = matches!((before.key, after.key), (Some(old), Some(new)) if old != new);
    match &before.health {
        _ if before.logged_in_at != after.logged_in_at && after.logged_in_at.is_some() => Some(Renewal::Login),
        _ if is_taken => Some(Renewal::Take),
        _ if has_key => Some(Renewal::Login),
        Health::Dead { .. } if after.is_followed => Some(Renewal::Elsewhere),
        Health::Dead { .. } => Some(Renewal::Login),
        Health::Broken { .. } => Some(Renewal::Elsewhere),
        Health::Live | Health::Off => None,
    }
}

fn blocks(before: Option<&Seen>, after: &mut Seen, now: Timestamp, news: &mut Vec<EventKind>) {
    let Some(before) = before else {
        // What was set aside before this process looked is known to whoever was told then.
        return;
    };
    for gone in before.blocks.iter().filter(|gone| !after.blocks.iter().any(|block| block.scope == gone.scope)) {
        let why = if gone.until <= now { Unblocking::Ended } else { Unblocking::Lifted };
        news.push(EventKind::AccountUnblocked { scope: gone.scope.to_string(), why });
    }
    // One whose time was over by now has ended, and this is another one.
    let is_told = |block: &Block| before.blocks.iter().any(|told| told.scope == block.scope && told.until > now);
    after.blocks.retain(|block| is_told(block) || block.until.until(now) >= BLOCK_TOLD_MIN);
    for Block { scope, until, end, reason } in after.blocks.iter().filter(|block| !is_told(block)) {
        let (scope, guessed, reason) = (scope.to_string(), *end == BlockEnd::Guessed, reason.clone());
        news.push(EventKind::AccountBlocked { scope, until: *until, guessed, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::block::BlockScope;

    const BEGAN: Timestamp = Timestamp(1_000_000_000_000);
    const NOW: Timestamp = Timestamp(1_000_000_060_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn live() -> Seen {
        Seen {
            health: Health::Live,
            logged_in_at: None,
            key: None,
            is_followed: false,
            quarantined: None,
            login_ends_at: None,
            announced_end: None,
            blocks: Vec::new(),
        }
    }

    fn dead(since: Timestamp) -> Seen {
        Seen { health: Health::Dead { cause: "refused".into(), since }, ..live() }
    }

    fn blocked(left: Duration) -> Seen {
        let block = Block { scope: BlockScope::Account, until: NOW.plus(left), end: BlockEnd::Told, reason: "r".into() };
        Seen { blocks: vec![block], ..live() }
    }

    fn told(before: Option<&Seen>, after: &Seen) -> Vec<&'static str> {
        told_at(before, &mut after.clone(), NOW)
    }

    fn told_at(before: Option<&Seen>, after: &mut Seen, now: Timestamp) -> Vec<&'static str> {
        changes(before, after, (BEGAN, now)).iter().map(EventKind::word).collect()
    }

    #[test]
    fn a_login_that_dies_is_told_once_and_with_its_cause() {
        let mut after = dead(NOW);
        let news = changes(Some(&live()), &mut after, (BEGAN, NOW));
        assert_eq!(news, [EventKind::AccountDisabled { cause: "oauth refresh failed: refused".into() }]);
        assert!(told(Some(&after), &dead(NOW)).is_empty());
        assert!(told(None, &dead(BEGAN.minus(HOUR))).is_empty(), "it died before this process began");
        assert_eq!(told(None, &dead(NOW)), ["account_disabled"]);
    }

    #[test]
    fn what_a_person_switches_off_is_no_event_whatever_becomes_of_it() {
        let off = Seen { health: Health::Off, ..blocked(HOUR) };
        assert!(told(Some(&live()), &off).is_empty());
        assert!(told(Some(&blocked(HOUR)), &off).is_empty());
        assert!(told(Some(&off), &live()).is_empty());
        assert!(told(Some(&off), &blocked(HOUR)).is_empty());
    }

    #[test]
    fn a_new_login_and_a_take_are_told_apart() {
        let how = |before: &Seen, after: Seen| match changes(Some(before), &mut after.clone(), (BEGAN, NOW)).as_slice() {
            [EventKind::AccountRenewed { how }] => Some(*how),
            [] => None,
            other => panic!("{other:?}"),
        };
        let followed = Seen { is_followed: true, ..live() };
        let held = Seen { quarantined: Some(BEGAN), ..live() };
        let again = Seen { logged_in_at: Some(NOW), ..live() };
        let key = |byte| Seen { key: Some(Fingerprint([byte; 32])), ..live() };
        assert_eq!(how(&dead(NOW), again.clone()), Some(Renewal::Login));
        assert_eq!(how(&live(), again.clone()), Some(Renewal::Login));
        assert_eq!(how(&again, again.clone()), None);
        assert_eq!(how(&dead(NOW), live()), Some(Renewal::Login));
        assert_eq!(how(&Seen { is_followed: true, ..dead(NOW) }, followed.clone()), Some(Renewal::Elsewhere));
        assert_eq!(how(&followed, live()), Some(Renewal::Take));
        assert_eq!(how(&held, live()), Some(Renewal::Take));
        assert_eq!(how(&key(1), key(2)), Some(Renewal::Login));
        assert_eq!(how(&key(1), key(1)), None);
    }

    #[test]
    fn a_block_is_told_once_and_so_is_its_end() {
        let mut after = blocked(HOUR);
        assert_eq!(told_at(Some(&live()), &mut after, NOW), ["account_blocked"]);
        assert!(told(Some(&after), &blocked(2 * HOUR)).is_empty(), "a later end of the same block is none");
        assert_eq!(told(Some(&after), &live()), ["account_unblocked"]);
        let ended = changes(Some(&after), &mut live(), (BEGAN, NOW.plus(HOUR)));
        assert_eq!(ended, [EventKind::AccountUnblocked { scope: "account".into(), why: Unblocking::Ended }]);
        let mut again = blocked(2 * HOUR);
        assert_eq!(told_at(Some(&after), &mut again, NOW.plus(HOUR)), ["account_blocked"], "the first one has ended");
        assert!(told(None, &blocked(HOUR)).is_empty(), "it was set aside before this process began");
    }

    #[test]
    fn a_throttle_is_no_event_and_neither_is_its_end() {
        let mut short = blocked(Duration::from_secs(30));
        assert!(told_at(Some(&live()), &mut short, NOW).is_empty());
        assert!(told(Some(&short), &live()).is_empty());
        assert_eq!(told(Some(&short), &blocked(HOUR)), ["account_blocked"]);
    }

    #[test]
    fn the_end_of_a_login_is_announced_once_and_anew_for_a_new_login() {
        let ends_in = |days: u64| Seen { login_ends_at: Some(NOW.plus(Duration::from_hours(24 * days))), ..live() };
        let mut far = ends_in(6);
        assert!(told_at(None, &mut far, NOW).is_empty());
        let mut near = far.clone();
        let later = NOW.plus(Duration::from_hours(48));
        assert_eq!(told_at(Some(&far), &mut near, later), ["login_ends"]);
        assert!(told_at(Some(&near), &mut near.clone(), later.plus(HOUR)).is_empty());
        assert!(told_at(Some(&near), &mut ends_in(30), later).is_empty());
        assert_eq!(told(Some(&near), &ends_in(3)), ["login_ends"]);
        assert!(told_at(None, &mut ends_in(3), NOW.plus(Duration::from_hours(96))).is_empty(), "it is over");
    }

    #[test]
    fn a_quarantine_is_told_when_it_begins_and_not_at_every_start() {
        let held = |since| Seen { quarantined: Some(since), ..live() };
        assert_eq!(told(Some(&live()), &held(NOW)), ["account_quarantined"]);
        assert!(told(Some(&held(NOW)), &held(NOW)).is_empty());
        assert_eq!(told(None, &held(BEGAN.minus(Duration::from_secs(1)))), ["account_quarantined"]);
        assert!(told(None, &held(BEGAN.minus(HOUR))).is_empty());
    }

    #[test]
    fn a_value_that_cannot_be_had_is_told_once_and_when_it_is_back() {
        let broken = Seen { health: Health::Broken { cause: "no such file".into() }, ..live() };
        assert_eq!(told(None, &broken), ["value_broken"]);
        assert!(told(Some(&broken), &broken).is_empty());
        assert_eq!(told(Some(&broken), &live()), ["account_renewed"]);
    }
}
