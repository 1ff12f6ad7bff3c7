//! Sessions' accounts, in a table that is read and written without a lock.

use crate::limits::STICKY_SESSIONS_MAX;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::select::Pin;
use claviger_domain::session::SessionHash;
use claviger_domain::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries that one session may stand in.
const WAYS: usize = 4;

/// A fixed table of (session, account, last use).
///
/// An entry is two words, `check = key ^ value` and `value`. A reader that meets a half-written entry finds that
/// `check ^ value` is not its key and treats it as absent: no lock, no tearing.
#[derive(Debug)]
pub(crate) struct StickyTable {
    entries: Box<[Entry]>,
}

#[derive(Debug, Default)]
struct Entry {
    check: AtomicU64,
    value: AtomicU64,
}

/// A session of one provider.
pub(crate) fn sticky_key(provider: &ProviderId, session: SessionHash) -> u64 {
    SessionHash::of(&[provider.as_str().as_bytes(), &session.0.to_le_bytes()]).0
}

/// Account in the upper half, seconds since the epoch in the lower, which lasts until 2106.
fn pack(account: AccountId, used_at: Timestamp) -> Option<u64> {
    let account = u32::try_from(account.0).ok()?;
    let seconds = u32::try_from(used_at.as_secs()).ok()?;
    Some((u64::from(account) << 32) | u64::from(seconds))
}

fn unpack(value: u64) -> Pin {
    let account = AccountId(i64::from(u32::try_from(value >> 32).unwrap_or(0)));
    Pin { account, used_at: Timestamp::from_secs((value & 0xffff_ffff).cast_signed()), cached_tokens: None }
}

/// Whether two values differ in what is worth keeping: the account, or the minute.
fn differs(value: u64, other: u64) -> bool {
    value >> 32 != other >> 32 || (value & 0xffff_ffff) / 60 != (other & 0xffff_ffff) / 60
}

impl StickyTable {
    pub(crate) fn new() -> Self {
        Self { entries: (0..STICKY_SESSIONS_MAX).map(|_| Entry::default()).collect() }
    }

    fn set_of(&self, key: u64) -> &[Entry] {
        let sets = self.entries.len() / WAYS;
        let set = usize::try_from(key % sets as u64).unwrap_or(0);
        self.entries.get(set * WAYS..(set + 1) * WAYS).unwrap_or_default()
    }

    /// Where a session was served last, and when, to the second.
    pub(crate) fn get(&self, key: u64) -> Option<Pin> {
        self.set_of(key).iter().find_map(|entry| {
            let value = entry.value.load(Ordering::Acquire);
            let check = entry.check.load(Ordering::Acquire);
            (value != 0 && check ^ value == key).then(|| unpack(value))
        })
    }

    /// Notes the account of a session. Says whether that changed anything worth keeping: another account, or another minute.
    pub(crate) fn put(&self, key: u64, account: AccountId, used_at: Timestamp) -> bool {
        let Some(value) = pack(account, used_at) else { return false };
        let set = self.set_of(key);
        let own = set.iter().find(|entry| entry.check.load(Ordering::Acquire) ^ entry.value.load(Ordering::Acquire) == key);
        // Else the entry that was silent for longest; an empty one is older than all.
        let slot = own.or_else(|| set.iter().min_by_key(|entry| entry.value.load(Ordering::Relaxed) & 0xffff_ffff));
        let Some(slot) = slot else { return false };
        let before = own.map(|own| own.value.load(Ordering::Acquire));
        if before == Some(value) {
            return false;
        }
        slot.value.store(value, Ordering::Release);
        slot.check.store(key ^ value, Ordering::Release);
        before.is_none_or(|before| differs(before, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_348_422_000);

    #[test]
    fn a_session_is_found_with_its_account() {
        let table = StickyTable::new();
        assert_eq!(table.get(77), None);
        assert!(table.put(77, AccountId(3), NOW));
        assert_eq!(table.get(77).unwrap().account, AccountId(3));
        assert!(!table.put(77, AccountId(3), NOW), "nothing changed");
        assert!(table.put(77, AccountId(4), NOW));
        assert_eq!(table.get(77).unwrap().account, AccountId(4));
    }

    #[test]
    fn the_second_of_the_last_use_is_known_and_another_minute_is_worth_keeping() {
        let (table, second) = (StickyTable::new(), std::time::Duration::from_secs(1));
        let minute = Timestamp::from_secs(NOW.as_secs() / 60 * 60);
        assert!(table.put(77, AccountId(3), minute));
        assert!(!table.put(77, AccountId(3), minute.plus(second * 59)));
        assert_eq!(table.get(77).unwrap().used_at, minute.plus(second * 59));
        assert!(table.put(77, AccountId(3), minute.plus(second * 60)));
    }

    #[test]
    fn a_full_set_gives_up_its_oldest_session() {
        let table = StickyTable::new();
        let sets = (STICKY_SESSIONS_MAX / WAYS) as u64;
        for way in 0..=WAYS as u64 {
            let minute = std::time::Duration::from_secs(60 * way);
            table.put(5 + way * sets, AccountId(1), NOW.plus(minute));
        }
        assert_eq!(table.get(5), None);
        assert!((1..=WAYS as u64).all(|way| table.get(5 + way * sets).is_some()));
    }

    #[test]
    fn an_account_too_large_to_pack_is_left_to_rendezvous() {
        let table = StickyTable::new();
        assert!(!table.put(1, AccountId(1 << 40), NOW));
        assert_eq!(table.get(1), None);
    }
}
