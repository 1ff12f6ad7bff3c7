//! Logins under way: the secrets of each, and how long it waits. In memory alone: a login that a restart ends is begun again.
//!
//! - `begin`: which way, and what a person does first. `code`, `device`, `key`: what comes next in each.
//! - `finish`: who has logged in, and where that is stored.

mod begin;
mod code;
mod device;
mod finish;
mod key;

pub(crate) use key::request as probe_request;

use crate::Inner;
use crate::control_http::ControlClient;
use crate::limits::{LOGIN_IDLE_MAX, LOGIN_LIFE_MAX, LOGINS_MAX};
use claviger_admin::{AdminError, ErrorCode, LoginInput, LoginStep};
use claviger_domain::id::AccountId;
use claviger_domain::profile::ProviderProfile;
use claviger_providers::hooks::{FreshLogin, LoginParams};
use claviger_providers::login::KeyEntry;
use claviger_runtime::random_u128;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What is the same from the beginning of a login to its end.
#[derive(Debug)]
pub(crate) struct LoginFacts {
    /// Its name. Whoever knows it can go on with the login, so it is random.
    pub(crate) id: String,
    /// Where a person logs in.
    pub(crate) profile: Arc<ProviderProfile>,
    /// Under whom the account is stored.
    pub(crate) stores_as: Arc<ProviderProfile>,
    /// The account that is renewed.
    pub(crate) account: Option<AccountId>,
    /// A name given by a person.
    pub(crate) label: Option<String>,
    /// What a person gave beside the provider's pages.
    pub(crate) params: LoginParams,
    /// Who asked.
    pub(crate) actor: String,
    /// How the provider is reached.
    pub(crate) http: ControlClient,
}

impl LoginFacts {
    /// An error that ends the login, and what to type for another one.
    pub(crate) fn failed(&self, message: impl Into<String>) -> AdminError {
        AdminError::new(ErrorCode::Failed, message).hint(self.again())
    }

    /// The command that begins again.
    pub(crate) fn again(&self) -> String {
        let account = self.account.map(|account| format!(" --account {account}")).unwrap_or_default();
        format!("claviger login {}{account}", self.profile.id)
    }
}

/// Where a login stands.
pub(crate) enum Stage {
    /// A browser is out for a code.
    Code(Box<code::CodeStage>),
    /// Somebody types a code elsewhere.
    Device(Box<device::DeviceStage>),
    /// The vendor's own flow.
    Vendor(Box<device::VendorStage>),
    /// A key is typed.
    Key(Box<KeyEntry>),
    /// Another identity has logged in than the account was: a person decides.
    Confirm(Box<FreshLogin>),
}

/// What a step leads to.
pub(crate) enum Next {
    /// The login goes on.
    Goes(Stage, LoginStep),
    /// The provider has said who it is.
    Done(Box<FreshLogin>, Vec<String>),
}

/// What a stage makes of what has happened since.
pub(crate) async fn go_on(inner: &Inner, facts: &LoginFacts, stage: Stage, input: LoginInput) -> Result<Next, AdminError> {
    match stage {
        Stage::Code(stage) => code::go_on(inner, facts, stage, input).await,
        Stage::Device(stage) => device::go_on(inner, facts, stage, input).await,
        Stage::Vendor(stage) => device::vendor_go_on(inner, facts, stage, input).await,
        Stage::Key(entry) => key::go_on(facts, entry, input).await,
        Stage::Confirm(fresh) => Ok(Next::Done(fresh, Vec::new())),
    }
}

/// A login that waits for the next thing to happen.
pub(crate) struct Session {
    pub(crate) facts: Arc<LoginFacts>,
    pub(crate) stage: Stage,
}

/// All logins under way.
#[derive(Default)]
pub(crate) struct Logins {
    /// Guards the table; held for one look, never over an await.
    slots: Mutex<BTreeMap<String, Slot>>,
}

struct Slot {
    /// On the boot clock.
    begun: Duration,
    touched: Duration,
    /// `None` while a step is being carried out.
    session: Option<Session>,
    /// Whether what it brought is on its way to the vault.
    is_stored: bool,
    /// Told when the login is given up.
    given_up: Arc<Notify>,
}

/// Why a login cannot be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotThere {
    /// There is none, or it is over.
    Gone,
    /// Another step of it is being carried out.
    Busy,
}

impl Logins {
    /// The name of a new login.
    pub(crate) fn new_id() -> String {
        format!("{:032x}", random_u128())
    }

    /// Enters a login whose first step is about to be carried out.
    pub(crate) fn enter(&self, id: &str, boot: Duration) {
        let mut slots = self.lock(boot);
        if slots.len() >= LOGINS_MAX {
            // One that is being carried out may hold a token, and is the last to go.
            let oldest = slots.iter().min_by_key(|(_, slot)| (slot.session.is_none(), slot.touched)).map(|(id, _)| id.clone());
            oldest.and_then(|id| slots.remove(&id));
        }
        let slot = Slot { begun: boot, touched: boot, session: None, is_stored: false, given_up: Arc::default() };
        slots.insert(id.to_owned(), slot);
    }

    /// Takes a login out for a step, so that no two steps of it meet.
    pub(crate) fn take(&self, id: &str, boot: Duration) -> Result<Session, NotThere> {
        let mut slots = self.lock(boot);
        let slot = slots.get_mut(id).ok_or(NotThere::Gone)?;
        slot.touched = boot;
        slot.session.take().ok_or(NotThere::Busy)
    }

    /// Puts a login back after a step. One that was given up meanwhile is forgotten.
    pub(crate) fn put_back(&self, session: Session, boot: Duration) -> Result<(), NotThere> {
        let mut slots = self.lock(boot);
        let slot = slots.get_mut(&session.facts.id).ok_or(NotThere::Gone)?;
        slot.touched = boot;
        slot.session = Some(session);
        Ok(())
    }

    /// Marks a login as one that is being stored: from then on nobody gives it up. False for one that was given up before.
    pub(crate) fn begin_storing(&self, id: &str, boot: Duration) -> bool {
        match self.lock(boot).get_mut(id) {
            Some(slot) => {
                slot.is_stored = true;
                true
            }
            None => false,
        }
    }

    /// Gives a login up, and ends what it still waits for. False for one that is being stored; one that is gone is given up.
    pub(crate) fn give_up(&self, id: &str, boot: Duration) -> bool {
        let mut slots = self.lock(boot);
        if slots.get(id).is_some_and(|slot| slot.is_stored) {
            return false;
        }
        if let Some(slot) = slots.remove(id) {
            slot.given_up.notify_one();
        }
        true
    }

    /// Forgets a login that has ended.
    pub(crate) fn forget(&self, id: &str, boot: Duration) {
        self.lock(boot).remove(id);
    }

    /// Resolves when a login is given up; at once for one that is gone.
    pub(crate) async fn given_up(&self, id: &str, boot: Duration) {
        let told = self.lock(boot).get(id).map(|slot| Arc::clone(&slot.given_up));
        if let Some(told) = told {
            told.notified().await;
        }
    }

    /// The table, without those that have waited too long.
    fn lock(&self, boot: Duration) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            let waits = slot.session.is_none() || boot.saturating_sub(slot.touched) < LOGIN_IDLE_MAX;
            slot.is_stored || (waits && boot.saturating_sub(slot.begun) < LOGIN_LIFE_MAX)
        });
        slots
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_hours(100);

    fn is_there(logins: &Logins, id: &str, boot: Duration) -> bool {
        logins.lock(boot).contains_key(id)
    }

    #[test]
    fn a_login_is_forgotten_when_it_waits_too_long_or_is_given_up() {
        let logins = Logins::default();
        logins.enter("a", NOW);
        assert_eq!(logins.take("a", NOW).err(), Some(NotThere::Busy), "its first step is not done");
        assert!(is_there(&logins, "a", NOW + LOGIN_IDLE_MAX), "a step that takes long is not idle");
        assert_eq!(logins.take("a", NOW + LOGIN_LIFE_MAX).err(), Some(NotThere::Gone));
        logins.enter("b", NOW);
        assert!(logins.give_up("b", NOW));
        assert!(!is_there(&logins, "b", NOW) && !logins.begin_storing("b", NOW));
        assert_eq!(logins.take("c", NOW).err(), Some(NotThere::Gone));
    }

    #[test]
    fn a_login_that_is_being_stored_is_not_given_up() {
        let logins = Logins::default();
        logins.enter("a", NOW);
        assert!(logins.begin_storing("a", NOW));
        assert!(!logins.give_up("a", NOW + LOGIN_LIFE_MAX), "who gives it up is not told that nothing was stored");
        logins.forget("a", NOW);
        assert!(logins.give_up("a", NOW), "it has ended");
    }

    #[test]
    fn the_table_of_logins_is_bounded_and_forgets_the_one_touched_first() {
        let logins = Logins::default();
        for number in 0..=LOGINS_MAX {
            logins.enter(&number.to_string(), NOW + Duration::from_secs(number as u64));
        }
        let now = NOW + Duration::from_mins(1);
        assert!(!is_there(&logins, "0", now));
        assert!(is_there(&logins, "1", now) && is_there(&logins, &LOGINS_MAX.to_string(), now));
    }

    #[test]
    fn names_of_logins_cannot_be_guessed() {
        assert_eq!(Logins::new_id().len(), 32);
        assert_ne!(Logins::new_id(), Logins::new_id());
    }
}
