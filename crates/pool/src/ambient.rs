//! Credentials had from logins of this machine, such as a cloud profile: in no vault, kept in memory while they are valid, and had
//! anew when they are due. Their flights are those of refreshes, so that there is one at a time; nothing is had before it is needed.

use crate::control_http::ControlClient;
use crate::grant::{GrantLive, Moment};
use crate::limits::{COMMAND_VALUE_LIFE, SAME_CREDENTIAL_REST};
use crate::values::{Values, unstored, unstored_id};
use crate::{Inner, PoolSettings};
use claviger_contract::{Signer, Unsignable};
use claviger_domain::block::REFRESH_FAILURE_REST;
use claviger_domain::credential::{CredentialKind, Custody, GrantState, Source};
use claviger_domain::id::{GrantId, GrantRevision, ProviderId, UNSTORED_IDS_FROM};
use claviger_domain::origin::Origin;
use claviger_domain::profile::{ProviderProfile, SigningRule};
use claviger_domain::refresh::{Due, Failure, Outcome, Want};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_providers::ambient::{AmbientCredential, AmbientError, AmbientLogin, AwsKeys, Found, Machine, sign};
use claviger_runtime::{BoxFuture, best_effort};
use claviger_store::{GrantRow, GrantSecret, LoadedVault};
use http::request;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// A login of this machine that somebody has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmbientKey {
    /// The provider that it is used for.
    pub provider: ProviderId,
    /// [`Source::Config`] or [`Source::Environment`].
    pub source: Source,
    /// The login.
    pub login: AmbientLogin,
}

impl AmbientKey {
    /// What it is called in tables of this process.
    fn name(&self) -> String {
        let path = self.login.path().unwrap_or(Path::new("")).display();
        format!("{}|{}|{}|{path}", self.provider, self.source.as_str(), self.login.label())
    }
}

/// Credentials as they were had last, by the grant that they stand for.
#[derive(Debug, Default)]
pub(crate) struct AmbientTable {
    /// Guards what is known of each; held for a look and a change, never over an await.
    slots: Mutex<HashMap<GrantId, Slot>>,
}

/// What is known of one.
struct Slot {
    /// Moves when the secret does.
    revision: GrantRevision,
    credential: Option<AmbientCredential>,
    /// When that was had.
    had_at: Timestamp,
    /// What is wrong, once it was seen twice or where there is nothing to go on with.
    broken: Option<(String, Timestamp)>,
    /// What was wrong at the last look: a file that is replaced in two steps is gone for a moment.
    doubt: bool,
    /// How often in a row what is asked elsewhere has failed.
    failures: u32,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot(revision {})", self.revision)
    }
}

impl Slot {
    fn empty() -> Self {
        Self { revision: GrantRevision::FIRST, credential: None, had_at: Timestamp(0), broken: None, doubt: false, failures: 0 }
    }

    /// Takes a credential over; whether the account is another one by that.
    fn had(&mut self, new: AmbientCredential, now: Timestamp) -> Change {
        let mended = self.broken.take().is_some();
        (self.doubt, self.failures) = (false, 0);
        let same = self.credential.as_ref().is_some_and(|old| old.secret.expose() == new.secret.expose());
        let same_end = self.credential.as_ref().is_some_and(|old| (old.expires_at, &old.project) == (new.expires_at, &new.project));
        if same && same_end {
            return if mended { Change::Mended } else { Change::None };
        }
        self.revision = self.revision.next();
        self.had_at = now;
        self.credential = Some(new);
        Change::Renewed
    }

    /// How long nobody asks elsewhere again: twice as long after each failure, since it may be night, and a person is needed.
    fn put_off(&mut self) -> Duration {
        let rest = REFRESH_FAILURE_REST.saturating_mul(1 << self.failures.min(8));
        self.failures += 1;
        rest.min(COMMAND_VALUE_LIFE)
    }

    /// Notes that it cannot be had; whether the account is another one by that. A credential that has no end is given up, since
    /// whoever took it away meant that.
    fn failed(&mut self, why: &str, now: Timestamp) -> bool {
        let ends_at = self.credential.as_ref().map(|credential| credential.expires_at);
        let serves = ends_at.is_some_and(|end| end.is_none_or(|end| end > now));
        if serves && !self.doubt {
            self.doubt = true;
            return false;
        }
        if ends_at == Some(None) {
            self.credential = None;
            self.revision = self.revision.next();
        }
        let before = self.broken.replace((why.to_owned(), now));
        if let Some((cause, since)) = before.filter(|(cause, _)| cause == why) {
            self.broken = Some((cause, since));
            return ends_at == Some(None);
        }
        true
    }
}

/// What taking a credential over has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Mended,
    Renewed,
}

impl AmbientTable {
    fn slots(&self) -> MutexGuard<'_, HashMap<GrantId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a grant stands for a credential that is yet to be had.
pub(crate) fn is_awaited(grant: &GrantRow) -> bool {
    let empty = matches!(&grant.secret, GrantSecret::OAuth { access, .. } if access.expose().is_empty());
    is_ambient(grant.id, &grant.custody) && empty
}

/// Whether a grant stands for a login of this machine.
pub(crate) fn is_ambient(grant: GrantId, custody: &Custody) -> bool {
    grant.0 >= UNSTORED_IDS_FROM && matches!(custody, Custody::Followed { .. })
}

impl Inner {
    /// Adds the accounts that stand for logins of this machine.
    pub(crate) fn with_ambient(
        &self,
        loaded: &mut LoadedVault,
        settings: &PoolSettings,
        providers: &HashMap<String, Arc<ProviderProfile>>,
    ) {
        let mut slots = self.ambient.slots();
        let mut named = Vec::new();
        for key in &settings.values.ambient {
            let Some(profile) = providers.get(key.provider.as_str()) else { continue };
            let facts = (key.source, CredentialKind::OAuth, key.login.label());
            let (mut account, mut grant) = unstored(&key.name(), profile, facts, GrantRevision::FIRST, self.started_at);
            grant.custody = Custody::Followed { path: key.login.path().unwrap_or(Path::new("")).to_owned() };
            // Until it is had it has ended already.
            grant.expires_at = Some(self.started_at);
            let slot = slots.entry(grant.id).or_insert_with(Slot::empty);
            grant.revision = slot.revision;
            if let Some(AmbientCredential { secret, expires_at, project }) = &slot.credential {
                grant.secret = GrantSecret::OAuth { access: SecretText::new(secret.expose().to_owned()), refresh: None };
                (grant.expires_at, grant.issued_at) = (*expires_at, slot.had_at);
                account.identity.project_id.clone_from(project);
            }
            if let Some((cause, since)) = &slot.broken {
                grant.state = GrantState::NeedsLogin { cause: cause.clone(), since: *since };
            }
            named.push(grant.id);
            loaded.accounts.push(account);
            loaded.grants.push(grant);
        }
        slots.retain(|grant, _| named.contains(grant));
    }
}

/// The login that a grant stands for.
fn login_of(settings: &PoolSettings, grant: GrantId) -> Option<&AmbientLogin> {
    settings.values.ambient.iter().find(|key| unstored_id(&key.name()) == grant.0).map(|key| &key.login)
}

/// Has the credential of a login of this machine if it is wanted, and publishes it. Runs as a flight.
pub(crate) async fn renew(inner: &Arc<Inner>, grant: &Arc<GrantLive>, profile: &Arc<ProviderProfile>, want: Want) -> Outcome {
    let settings = inner.settings.load_full();
    let Some(login) = login_of(&settings, grant.id) else { return Outcome::Adopted };
    let had = have(inner, &settings.values, login, (grant, profile), want).await;
    let now = inner.clock.now();
    let changed = match &had {
        Ok(Some(_)) | Err(AmbientError::Unavailable(_)) => false,
        Ok(None) => {
            inner.ambient.slots().get_mut(&grant.id).is_some_and(|slot| std::mem::take(&mut slot.doubt) | slot.broken.take().is_some())
        }
        Err(AmbientError::Broken(why)) => inner.ambient.slots().get_mut(&grant.id).is_some_and(|slot| slot.failed(why, now)),
    };
    grant.notice(had.as_ref().err().map(ToString::to_string));
    let (outcome, changed) = match had {
        Err(AmbientError::Broken(_)) => (Outcome::Failed { why: Failure::PutOff, retry_at: None }, changed),
        Err(AmbientError::Unavailable(_)) => {
            let rest = inner.ambient.slots().get_mut(&grant.id).map_or(REFRESH_FAILURE_REST, Slot::put_off);
            (Outcome::Failed { why: Failure::PutOff, retry_at: Some(now.plus(rest)) }, changed)
        }
        Ok(None) => (Outcome::Adopted, changed),
        Ok(Some(credential)) => {
            let change = inner.ambient.slots().get_mut(&grant.id).map_or(Change::None, |slot| slot.had(credential, now));
            if change == Change::None {
                rest(inner, grant, want);
            }
            (if change == Change::Renewed { Outcome::Refreshed } else { Outcome::Adopted }, change != Change::None)
        }
    };
    if changed {
        best_effort("publish a credential of this machine", inner.rebuild().await);
    }
    outcome
}

/// Asks no program again at once that gives what it gave before: it knows by itself when that ends.
fn rest(inner: &Inner, grant: &GrantLive, want: Want) {
    let moment = Moment::of(&*inner.clock);
    if is_wanted(grant, want, moment) {
        let end = grant.facts().span(moment).map_or(Timestamp::FAR_FUTURE, |(_, end)| end);
        grant.rest(moment.now.plus(SAME_CREDENTIAL_REST).min(end.max(moment.now)), moment);
    }
}

/// Whether a flight is to bring another credential than the one that is here.
fn is_wanted(grant: &GrantLive, want: Want, moment: Moment) -> bool {
    let facts = grant.facts();
    match want {
        Want::NewerThan(refused) => facts.revision <= refused,
        Want::IfDue { due: Due::Request } => facts.is_due(moment) || !facts.is_sendable(moment),
        Want::IfDue { due: Due::Sweep { jitter } } => facts.is_due_for_sweep(jitter, moment) || !facts.is_sendable(moment),
    }
}

/// The credential, from what lies here at every look, and from elsewhere where it is wanted.
async fn have(
    inner: &Arc<Inner>,
    values: &Values,
    login: &AmbientLogin,
    (grant, profile): (&GrantLive, &Arc<ProviderProfile>),
    want: Want,
) -> Result<Option<AmbientCredential>, AmbientError> {
    let machine = Outside(values);
    match login.look(&machine).await? {
        Found::Here(credential) => Ok(Some(credential)),
        Found::Elsewhere(errand) if is_wanted(grant, want, Moment::of(&*inner.clock)) => {
            errand.run(profile, &machine, &ControlClient::new(inner, profile)).await.map(Some)
        }
        Found::Elsewhere(_) => Ok(None),
    }
}

/// What is at hand outside of this process.
struct Outside<'s>(&'s Values);

impl Machine for Outside<'_> {
    fn text<'a>(&'a self, place: &'a ValueRef) -> BoxFuture<'a, Result<Option<Zeroizing<Vec<u8>>>, String>> {
        Box::pin(async move {
            match &self.0.source {
                Some(source) => source.text(place).await.map_err(|error| error.0),
                None => Err("this process fetches no values".to_owned()),
            }
        })
    }
}

/// Signs with keys that never leave.
#[derive(Debug)]
pub(crate) struct KeySigner {
    keys: AwsKeys,
    rule: SigningRule,
}

impl KeySigner {
    /// From the text of a secret; `None` where that holds no keys.
    pub(crate) fn new(secret: &str, rule: &SigningRule) -> Option<Self> {
        Some(Self { keys: AwsKeys::of_text(secret)?, rule: rule.clone() })
    }
}

impl Signer for KeySigner {
    fn sign(&self, parts: &mut request::Parts, target: &Origin, body: &[u8], now: Timestamp) -> Result<(), Unsignable> {
        sign(&self.keys, &self.rule, parts, (target, body), now).ok_or(Unsignable)
    }
}
