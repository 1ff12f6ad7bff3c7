//! Which of two tokens of one login is the newer: what another tool's file offers against what is here.

use crate::identity::Identity;
use crate::time::Timestamp;

/// What is known of a token without its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generation {
    /// When it ends; `None` where nobody says.
    pub expires_at: Option<Timestamp>,
    /// Whether whoever holds it can have a new one.
    pub refreshable: bool,
    /// Whose it is, as far as that is known.
    pub owner: Identity,
}

/// What becomes of a token that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It takes the place of the one that is here.
    Newer,
    /// The one that is here ends later, so it came later.
    Older,
    /// It is what a tool leaves behind when it logs out: it has ended, and nothing renews it.
    Stub,
    /// It is another account's.
    Anothers,
}

/// Decides about a token that differs from the one that is here.
///
/// Of one login the later token ends later. That rule is left where the held token `is_refused` by its provider: whatever the
/// tool has now cannot be worse. Where an end is not known, the file's word is taken.
pub fn offer(held: &Generation, offered: &Generation, is_refused: bool, now: Timestamp) -> Offer {
    if belongs_to_another(&held.owner, &offered.owner) {
        return Offer::Anothers;
    }
    if !offered.refreshable && offered.expires_at.is_some_and(|end| end <= now) {
        return Offer::Stub;
    }
    match (held.expires_at, offered.expires_at) {
        (Some(held), Some(offered)) if offered < held && !is_refused => Offer::Older,
        _ => Offer::Newer,
    }
}

/// Whether two identities are those of different accounts, as far as both say. Of ids the account's counts before the e-mail;
/// an organisation that both name tells them apart in any case.
pub fn belongs_to_another(held: &Identity, offered: &Identity) -> bool {
    let differ = |one: &Option<String>, other: &Option<String>| match (one, other) {
        (Some(one), Some(other)) => Some(one != other),
        _ => None,
    };
    let account = differ(&held.account_id, &offered.account_id).or_else(|| differ(&held.email, &offered.email));
    account == Some(true) || differ(&held.org_id, &offered.org_id) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn generation(ends_in_ms: Option<i64>, refreshable: bool) -> Generation {
        let expires_at = ends_in_ms.map(|by| Timestamp(NOW.0 + by));
        Generation { expires_at, refreshable, owner: Identity::default() }
    }

    #[test]
    fn the_table_of_offers() {
        let table = [
            (Some(5), Some(9), true, false, Offer::Newer),
            (Some(5), Some(5), true, false, Offer::Newer),
            (Some(9), Some(5), true, false, Offer::Older),
            (Some(9), Some(5), true, true, Offer::Newer),
            (Some(-5), Some(-1), true, false, Offer::Newer),
            (Some(-5), Some(-1), false, false, Offer::Stub),
            (Some(5), Some(0), false, true, Offer::Stub),
            (None, Some(5), false, false, Offer::Newer),
            (Some(5), None, false, false, Offer::Newer),
        ];
        for (held, offered, refreshable, is_refused, expected) in table {
            let found = offer(&generation(held, true), &generation(offered, refreshable), is_refused, NOW);
            assert_eq!(found, expected, "{held:?} {offered:?} {refreshable} {is_refused}");
        }
    }

    #[test]
    fn another_account_is_told_by_what_both_name() {
        let of = |account: &str, email: &str, org: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Identity { account_id: some(account), email: some(email), org_id: some(org), ..Identity::default() }
        };
        let table = [
            (of("a", "", ""), of("a", "x@x.example", ""), false),
            (of("a", "", ""), of("b", "", ""), true),
            (of("a", "x@x.example", ""), of("a", "y@x.example", ""), false),
            (of("", "x@x.example", ""), of("", "y@x.example", ""), true),
            (of("", "x@x.example", ""), of("a", "", ""), false),
            (of("a", "", "o1"), of("a", "", "o2"), true),
            (of("", "", ""), of("a", "x@x.example", "o"), false),
        ];
        for (held, offered, expected) in table {
            assert_eq!(belongs_to_another(&held, &offered), expected, "{held:?} {offered:?}");
            assert_eq!(belongs_to_another(&offered, &held), expected, "{offered:?} {held:?}");
        }
    }

    /// All files of one login in all orders: what is here in the end is the newest that was no stub, and it never went back.
    #[test]
    fn in_whatever_order_files_are_read_the_newest_generation_stays() {
        let offers: Vec<Generation> = [(-2, false), (-1, true), (3, true), (7, false), (7, true), (9, true)]
            .map(|(end, refreshable)| generation(Some(end), refreshable))
            .into();
        let mut seed = 1_u64;
        for round in 0..2000 {
            let mut held = generation(Some(-100), true);
            let mut newest = held.expires_at;
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let offered = &offers[usize::try_from(seed >> 33).unwrap() % offers.len()];
                let is_stub = !offered.refreshable && offered.expires_at <= Some(NOW);
                match offer(&held, offered, false, NOW) {
                    Offer::Newer => {
                        assert!(offered.expires_at >= held.expires_at && !is_stub, "round {round}");
                        held = offered.clone();
                    }
                    Offer::Older => assert!(offered.expires_at < held.expires_at, "round {round}"),
                    Offer::Stub => assert!(is_stub, "round {round}"),
                    Offer::Anothers => panic!("round {round}: they are of one login"),
                }
                newest = if is_stub { newest } else { newest.max(offered.expires_at) };
            }
            assert_eq!(held.expires_at, newest, "round {round}");
        }
    }
}
