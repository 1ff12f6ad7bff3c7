//! What to do after an attempt: the rules that keep a refused bearer from being sent twice.

use crate::classify::Class;
use crate::id::{AccountId, GrantId, GrantRevision};
use std::time::Duration;

/// Most attempts for one request: enough for a refresh and six siblings, few enough that a request ends.
pub const ATTEMPTS_MAX: usize = 8;
/// Most further tries with one bearer after capacity, concurrency or connection trouble.
pub const SAME_BEARER_RETRIES_MAX: usize = 2;
/// The wait before a try after a concurrency cap.
pub const CONCURRENCY_WAIT: Duration = Duration::from_secs(5);
/// The wait before the first try after overload or connection trouble; doubles.
pub const CAPACITY_WAIT: Duration = Duration::from_millis(500);

/// One attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The account.
    pub account: AccountId,
    /// Its grant.
    pub grant: GrantId,
    /// The revision of the secret that was sent.
    pub revision: GrantRevision,
    /// What came of it.
    pub class: Class,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The answer goes to the client.
    Answer,
    /// Lease again; the grant is refreshed first if the refused revision is still its current one.
    Refresh,
    /// Lease again after a wait; the same bearer may be sent.
    Again(Duration),
    /// Lease another account.
    Sibling,
}

/// The attempts of one request. Owned by the request; small.
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    made: Vec<Made>,
}

impl Attempts {
    /// No attempt yet. Allocates nothing.
    pub const fn new() -> Self {
        Self { made: Vec::new() }
    }

    /// All attempts, first made first.
    pub fn made(&self) -> &[Made] {
        &self.made
    }

    /// Notes an attempt and says what to do next. `Next` is advice for a request that can be replayed; one that cannot ends in [`Next::Answer`].
    pub fn after(&mut self, made: Made) -> Next {
        let same_bearer = self.made.iter().filter(|earlier| (earlier.grant, earlier.revision) == (made.grant, made.revision)).count();
        let refused_before = self.made.iter().any(|earlier| earlier.grant == made.grant && earlier.class == Class::Unauthorized);
        let next = match &made.class {
            Class::Unauthorized if !refused_before => Next::Refresh,
            Class::Unauthorized | Class::UsageLimit { .. } | Class::Policy { .. } | Class::RateLimited { .. } => Next::Sibling,
            Class::Concurrency if same_bearer < SAME_BEARER_RETRIES_MAX => Next::Again(CONCURRENCY_WAIT),
            Class::Capacity | Class::Unreachable if same_bearer < SAME_BEARER_RETRIES_MAX => {
                Next::Again(CAPACITY_WAIT.saturating_mul(1 << same_bearer.min(4)))
            }
            // A request whose answer was lost may have been carried out and paid for: the client decides.
            Class::Accepted | Class::Unrelated | Class::Concurrency | Class::Capacity | Class::Unreachable | Class::Lost => Next::Answer,
        };
        self.made.push(made);
        if self.made.len() >= ATTEMPTS_MAX { Next::Answer } else { next }
    }

    /// Whether a lease of this grant at this revision may be tried (again).
    ///
    /// After a refusal the same bearer is never sent again, and after a policy answer or a limit the same account: another one
    /// on the same grant has limits of its own. A grant that was refused twice, the second time on a newer token, is out for
    /// this request.
    pub fn allows(&self, account: AccountId, grant: GrantId, revision: GrantRevision) -> bool {
        let refusals = self.made.iter().filter(|made| made.grant == grant && made.class == Class::Unauthorized).count();
        refusals < 2
            && !self.made.iter().any(|made| match made.class {
                Class::Unauthorized => made.grant == grant && made.revision >= revision,
                Class::UsageLimit { .. } | Class::Policy { .. } | Class::RateLimited { .. } => made.account == account,
                _ => false,
            })
    }

    /// The revision of this grant that was refused, so that its lease asks for a newer one.
    pub fn refused(&self, grant: GrantId) -> Option<GrantRevision> {
        let refused = self.made.iter().filter(|made| made.grant == grant && made.class == Class::Unauthorized);
        refused.map(|made| made.revision).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockScope;

    fn made(account: i64, revision: u64, class: Class) -> Made {
        Made { account: AccountId(account), grant: GrantId(account), revision: GrantRevision(revision), class }
    }

    fn limit() -> Class {
        Class::UsageLimit { scope: BlockScope::Account, until: None }
    }

    #[test]
    fn a_refused_bearer_is_refreshed_once_and_then_left_for_a_sibling() {
        let mut attempts = Attempts::new();
        assert_eq!(attempts.after(made(1, 1, Class::Unauthorized)), Next::Refresh);
        assert!(!attempts.allows(AccountId(1), GrantId(1), GrantRevision(1)));
        assert!(attempts.allows(AccountId(1), GrantId(1), GrantRevision(2)));
        assert_eq!(attempts.after(made(1, 2, Class::Unauthorized)), Next::Sibling);
        assert!(!attempts.allows(AccountId(1), GrantId(1), GrantRevision(3)));
        assert!(attempts.allows(AccountId(2), GrantId(2), GrantRevision(1)));
    }

    #[test]
    fn after_a_limit_the_account_is_out_for_this_request() {
        let mut attempts = Attempts::new();
        assert_eq!(attempts.after(made(1, 1, limit())), Next::Sibling);
        assert!(!attempts.allows(AccountId(1), GrantId(1), GrantRevision(2)));
    }

    #[test]
    fn a_limit_of_one_account_leaves_another_on_the_same_grant_alone() {
        let mut attempts = Attempts::new();
        attempts.after(made(1, 1, limit()));
        assert!(attempts.allows(AccountId(2), GrantId(1), GrantRevision(1)));
    }

    #[test]
    fn overload_is_tried_at_most_twice_more_with_a_growing_wait() {
        let mut attempts = Attempts::new();
        assert_eq!(attempts.after(made(1, 1, Class::Capacity)), Next::Again(CAPACITY_WAIT));
        assert_eq!(attempts.after(made(1, 1, Class::Unreachable)), Next::Again(CAPACITY_WAIT * 2));
        assert_eq!(attempts.after(made(1, 1, Class::Capacity)), Next::Answer);
    }

    #[test]
    fn a_request_whose_answer_was_lost_is_not_sent_again() {
        assert_eq!(Attempts::new().after(made(1, 1, Class::Lost)), Next::Answer);
    }

    #[test]
    fn a_request_ends_after_eight_attempts() {
        let mut attempts = Attempts::new();
        for account in 1..8 {
            assert_eq!(attempts.after(made(account, 1, limit())), Next::Sibling);
        }
        assert_eq!(attempts.after(made(8, 1, limit())), Next::Answer);
    }
}
