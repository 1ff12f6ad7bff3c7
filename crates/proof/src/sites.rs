//! The places where a process can be struck: the failpoints of the pool, and what the provider does meanwhile.

use claviger_pool::FAILPOINTS;

/// Where a process dies or stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// At a failpoint of the pool.
    Ours(&'static str),
    /// While the provider has the request.
    Theirs(Theirs),
}

/// What the provider has done with a request whose sender is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theirs {
    /// Nothing: it has not read it.
    Unread,
    /// The token is redeemed, and nothing of the answer was sent.
    Consumed,
    /// Half of the answer was sent.
    HalfAnswered,
}

impl Site {
    /// All places, in the order of a refresh.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let theirs = [Theirs::Unread, Theirs::Consumed, Theirs::HalfAnswered].map(Site::Theirs);
        let sent = FAILPOINTS.iter().take_while(|site| **site != "answer.received").count();
        let ours = FAILPOINTS.map(Site::Ours).into_iter();
        ours.clone().take(sent).chain(theirs).chain(ours.skip(sent))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours(site) => site,
            Self::Theirs(Theirs::Unread) => "provider.unread",
            Self::Theirs(Theirs::Consumed) => "provider.consumed",
            Self::Theirs(Theirs::HalfAnswered) => "provider.half_answered",
        }
    }

    /// Whether a strict grant may be lost by a death here: after its token was consumed, before the answer's spill was synced.
    pub(crate) fn is_in_window(self) -> bool {
        matches!(self, Self::Ours("answer.received") | Self::Theirs(Theirs::Consumed | Theirs::HalfAnswered))
    }

    /// Whether the new token is on disk when a refresh comes here.
    pub(crate) fn is_stored(self) -> bool {
        let Self::Ours(site) = self else { return false };
        matches!(site, "grant.stored" | "grant.reloaded" | "grant.published" | "spill.removed" | "lock.freed")
    }

    /// Whether the caller has its answer before the refresh comes here.
    pub(crate) fn is_behind_the_answer(self) -> bool {
        matches!(self, Self::Ours("spill.removed" | "lock.freed"))
    }
}

#[cfg(test)]
mod tests {
    use super::Site;

    #[test]
    fn the_places_of_the_provider_lie_between_the_journal_and_the_answer() {
        let names: Vec<_> = Site::all().map(Site::name).collect();
        let at = |name: &str| names.iter().position(|known| *known == name).unwrap();
        assert_eq!(names.len(), 16);
        assert!(at("intent.journalled") < at("provider.unread") && at("provider.half_answered") < at("answer.received"));
    }
}
