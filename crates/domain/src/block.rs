//! Blocks: an account, or a part of what it serves, that is set aside until a time.

use crate::family::Families;
use crate::time::Timestamp;
use std::fmt;
use std::time::Duration;

/// What a block covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockScope {
    /// The account as a whole.
    Account,
    /// One meter of the provider, which covers some models.
    Tier(String),
    /// One model.
    Model(String),
}

impl fmt::Display for BlockScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Tier(tier) => write!(f, "tier:{tier}"),
            Self::Model(model) => write!(f, "model:{model}"),
        }
    }
}

impl BlockScope {
    /// Reads what `Display` wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "account" => Some(Self::Account),
            Some(("tier", tier)) if !tier.is_empty() => Some(Self::Tier(tier.to_owned())),
            Some(("model", model)) if !model.is_empty() => Some(Self::Model(model.to_owned())),
            _ => None,
        }
    }

    /// Whether a block of this scope stands in the way of a request for `model`, of a provider with these families.
    ///
    /// A tier covers the models of the family of its name; where there is no such family, the models whose names contain its name.
    pub fn covers_in(&self, model: Option<&str>, families: &Families) -> bool {
        match self {
            Self::Tier(tier) if families.has(tier) => model.is_some_and(|model| families.family_of(model) == Some(tier.as_str())),
            _ => self.covers(model),
        }
    }

    /// Whether it covers all models of a family; `None` stands for models without one. A single model's scope covers no family.
    pub fn covers_family(&self, family: Option<&str>) -> bool {
        match self {
            Self::Account => true,
            Self::Tier(tier) => family == Some(tier.as_str()),
            Self::Model(_) => false,
        }
    }

    /// Whether a block of this scope stands in the way of a request for `model`, of a provider without families.
    pub fn covers(&self, model: Option<&str>) -> bool {
        match self {
            Self::Account => true,
            Self::Tier(tier) => model.is_some_and(|model| model.contains(tier.as_str())),
            Self::Model(blocked) => model == Some(blocked.as_str()),
        }
    }
}

/// Why the end of a block is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockEnd {
    /// The provider named it.
    Told,
    /// Nobody named it; a probe may lift the block earlier.
    Guessed,
}

/// An account, or a part of what it serves, set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it covers.
    pub scope: BlockScope,
    /// Until when.
    pub until: Timestamp,
    /// Who named the end.
    pub end: BlockEnd,
    /// Why, in words without a secret; for people.
    pub reason: String,
}

/// Why an account was set aside by us. The reason that is stored is its sentence; blocks from elsewhere have reasons of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockCause {
    /// Nothing is left of a quota.
    Quota,
    /// Too much was asked in a short time.
    RateLimit,
    /// The provider will not serve it.
    Policy,
    /// The provider refuses its credential.
    Credential,
}

impl BlockCause {
    const ALL: [Self; 4] = [Self::Quota, Self::RateLimit, Self::Policy, Self::Credential];

    /// The reason of such a block, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Quota => "a quota is used up",
            Self::RateLimit => "too many requests in a short time",
            Self::Policy => "the provider refuses this account",
            Self::Credential => "the provider refuses its credential",
        }
    }
}

impl Block {
    /// Why it was set; `None` for one that came from elsewhere.
    pub fn cause(&self) -> Option<BlockCause> {
        BlockCause::ALL.into_iter().find(|cause| cause.reason() == self.reason)
    }
}

/// An exhausted limit of which nobody knows when it resets; the next report comes soon.
pub const EXHAUSTED_GUESS: Duration = Duration::from_mins(1);
/// A quota without a known reset, per the classes of `docs/defaults.md`.
pub const QUOTA_GUESS: Duration = Duration::from_mins(30);
/// A policy answer: another try soon is pointless, for ever is too long.
pub const POLICY_GUESS: Duration = Duration::from_mins(30);
/// A throttle without a hint.
pub const RATE_LIMIT_GUESS: Duration = Duration::from_secs(30);
/// A credential refused twice, the second time on a fresh token.
pub const UNAUTHORIZED_GUESS: Duration = Duration::from_mins(1);
/// A token endpoint that failed for now: the account rests this long when it has no live token.
pub const REFRESH_FAILURE_REST: Duration = Duration::from_secs(30);
/// How often an account whose block's end is a guess may be probed while all are blocked.
pub const PROBE_INTERVAL: Duration = Duration::from_mins(1);

/// The longer of two blocks of one scope: a later report never shortens a block.
#[must_use]
pub fn longest(current: Option<Block>, new: Block) -> Block {
    match current {
        Some(current) if current.until >= new.until => current,
        _ => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;

    #[test]
    fn a_scope_reads_back_what_it_printed() {
        for scope in [BlockScope::Account, BlockScope::Tier("fable".into()), BlockScope::Model("m:1".into())] {
            assert_eq!(BlockScope::from_text(&scope.to_string()), Some(scope));
        }
        assert_eq!(BlockScope::from_text("tier:"), None);
    }

    #[test]
    fn a_model_block_leaves_other_models_alone() {
        let scope = BlockScope::Model("m1".into());
        assert!(scope.covers(Some("m1")));
        assert!(!scope.covers(Some("m2")));
        assert!(!scope.covers(None));
        assert!(BlockScope::Account.covers(None));
        assert!(BlockScope::Tier("fable".into()).covers(Some("x-fable-2")));
    }

    #[test]
    fn a_tier_covers_its_family_and_only_without_one_what_is_named_like_it() {
        let family = |name: &str, pattern: &str| Family { name: name.to_owned(), patterns: vec![pattern.to_owned()] };
        let families = Families(vec![family("spark", "*-spark"), family("chat", "*")]);
        let (spark, chat, other) = (BlockScope::Tier("spark".into()), BlockScope::Tier("chat".into()), BlockScope::Tier("fable".into()));
        assert!(spark.covers_in(Some("gpt-spark"), &families) && !chat.covers_in(Some("gpt-spark"), &families));
        assert!(chat.covers_in(Some("gpt-5"), &families), "by family, although the name does not say so");
        assert!(!spark.covers_in(Some("sparkling-1"), &families), "by family, although the name says so");
        assert!(other.covers_in(Some("x-fable-2"), &families), "there is no family of that name");
        assert!(!chat.covers_in(None, &families) && BlockScope::Account.covers_in(None, &families));
        assert!(spark.covers_family(Some("spark")) && !spark.covers_family(None) && BlockScope::Account.covers_family(None));
    }

    #[test]
    fn a_later_report_never_shortens_a_block() {
        let block = |until| Block { scope: BlockScope::Account, until: Timestamp(until), end: BlockEnd::Told, reason: String::new() };
        assert_eq!(longest(Some(block(9)), block(5)).until, Timestamp(9));
        assert_eq!(longest(Some(block(5)), block(9)).until, Timestamp(9));
        assert_eq!(longest(None, block(1)).until, Timestamp(1));
    }
}
