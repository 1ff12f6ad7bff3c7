//! Keys that stand elsewhere: those that the vault only names, and those that are in no vault at all, from the command line, the
//! configuration and the environment. They are fetched beside requests, kept in memory, and looked at again.

mod fetched;

pub(crate) use fetched::FetchedValues;

use crate::ambient::AmbientKey;
use crate::limits::{VALUE_POLL, VALUE_WAIT_MAX};
use crate::view::routes;
use crate::{Inner, PoolSettings};
use claviger_domain::credential::{self, CredentialKind, Custody, GrantState, Source};
use claviger_domain::id::{AccountId, GrantId, GrantRevision, ProviderId, RowRevision, UNSTORED_IDS_FROM};
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_runtime::{BoxFuture, best_effort};
use claviger_store::{AccountRow, Fingerprint, GrantRow, GrantSecret, LoadedVault, StoreError};
use fetched::{Fetching, Standing};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use zeroize::Zeroizing;

/// Why a value cannot be had: what was tried and what came of it, without any of what was read. For people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// Fetches values. Implemented where environment, files and programs are at hand.
pub trait ValueSource: Send + Sync + std::fmt::Debug + 'static {
    /// Fetches one. Cancel safety: a dropped future leaves no program behind.
    fn fetch<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>>;

    /// Fetches a text as it stands, of whatever form, for logins of this machine: a variable, a file of up to 1 MiB, what a program
    /// prints. `None` where there is no such variable, file or program. Cancel safety: a dropped future leaves no program behind.
    fn text<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<Option<Zeroizing<Vec<u8>>>, ValueError>> {
        Box::pin(async move { Err(ValueError(format!("{value} cannot be read by this process"))) })
    }
}

/// A credential that is in no vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueKey {
    /// Its provider.
    pub provider: ProviderId,
    /// [`Source::Runtime`], [`Source::Config`] or [`Source::Environment`].
    pub source: Source,
    /// Whether it is a key, or an access token that nobody refreshes.
    pub kind: CredentialKind,
    /// Where it is.
    pub value: ValueRef,
}

/// The credentials that are in no vault, and how values are fetched.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// The credentials.
    pub keys: Vec<ValueKey>,
    /// Logins of this machine whose credentials are used.
    pub ambient: Vec<AmbientKey>,
    /// Who fetches; without one, no value can be had.
    pub source: Option<Arc<dyn ValueSource>>,
}

/// A credential of the settings, with the text of its reference.
struct Named<'a> {
    name: String,
    key: &'a ValueKey,
}

/// The credentials of the settings under names of their own, which say all but a key in clear.
fn named(settings: &PoolSettings) -> impl Iterator<Item = Named<'_>> {
    settings.values.keys.iter().map(|key| Named { name: format!("{}|{}|{}", key.provider, key.source.as_str(), place(&key.value)), key })
}

/// The whole reference, as a key of tables; never printed.
fn place(value: &ValueRef) -> String {
    match value {
        ValueRef::Cmd(words) => format!("cmd:{}", words.join("\u{0}")),
        other => other.to_string(),
    }
}

/// What a key of the vault refers to. A command is taken from the configuration alone: whoever can write a file that is
/// imported must not be able to run programs.
fn stored_reference(secret: &GrantSecret) -> Option<Result<ValueRef, ValueError>> {
    let GrantSecret::ApiKey { key } = secret else { return None };
    ValueRef::refers(key.expose()).then(|| match ValueRef::read(key.expose()) {
        Ok(ValueRef::Cmd(_)) => {
            Err(ValueError("a command may stand in the configuration only: [providers.X] api_key = \"cmd:…\"".to_owned()))
        }
        Ok(value) => Ok(value),
        Err(error) => Err(ValueError(error.to_string())),
    })
}

impl Inner {
    /// Begins to fetch what is due of the values that the settings and these grants name.
    pub(crate) async fn fetch_values(&self, grants: &[GrantRow]) {
        let settings = self.settings.load_full();
        let of_vault = grants.iter().filter_map(|grant| stored_reference(&grant.secret)?.ok()).map(|value| (place(&value), value));
        let of_settings = named(&settings).map(|named| (named.name, named.key.value.clone()));
        self.values.want(of_vault.chain(of_settings).collect());
        self.fetch_due(&settings).await;
    }

    async fn fetch_due(&self, settings: &PoolSettings) {
        let with = Fetching { source: settings.values.source.as_ref(), supervisor: &self.supervisor, clock: &self.clock };
        self.values.fetch_due(with).await;
    }

    /// Whether the value of a credential that is in no vault is being fetched for the first time.
    pub(crate) fn is_value_awaited(&self, grant: GrantId) -> bool {
        let settings = self.settings.load();
        named(&settings).any(|named| unstored_id(&named.name) == grant.0 && self.values.get(&named.name).is_none())
    }

    /// Waits for the first values of these grants; whether there were any to wait for. For people and programs that ask for them.
    pub(crate) async fn await_values(&self, grants: impl IntoIterator<Item = GrantId>) -> Result<bool, StoreError> {
        let awaited: BTreeSet<i64> = grants.into_iter().filter(|grant| self.is_value_awaited(*grant)).map(|grant| grant.0).collect();
        if awaited.is_empty() {
            return Ok(false);
        }
        self.values.settle(VALUE_WAIT_MAX, &*self.clock, |name| awaited.contains(&unstored_id(name))).await;
        self.rebuild().await?;
        Ok(true)
    }

    /// Puts values in the place of their references, and adds the credentials that are in no vault.
    pub(crate) fn with_values(&self, loaded: &mut LoadedVault, providers: &HashMap<String, Arc<ProviderProfile>>) {
        let (now, settings) = (self.clock.now(), self.settings.load_full());
        let first = || Standing { revision: GrantRevision::FIRST, value: Err(ValueError("it is being fetched".to_owned())), since: now };
        for grant in &mut loaded.grants {
            let Some(reference) = stored_reference(&grant.secret) else { continue };
            let standing = match reference {
                Ok(value) => self.values.get(&place(&value)).unwrap_or_else(first),
                Err(error) => Standing { value: Err(error), ..first() },
            };
            grant.revision = GrantRevision(grant.revision.0.saturating_add(standing.revision.0.saturating_sub(GrantRevision::FIRST.0)));
            place_value(grant, standing, None);
        }
        let mut taken = BTreeSet::new();
        for Named { name, key } in named(&settings) {
            let Some(profile) = providers.get(key.provider.as_str()) else { continue };
            if !taken.insert(unstored_id(&name)) {
                // Never under the other's id: that would send the key to the other's provider.
                tracing::error!(provider.id = %key.provider, value = %key.value, "left out: it is named twice, or its id is another's");
                continue;
            }
            let standing = self.values.get(&name).unwrap_or_else(first);
            let facts = (key.source, key.kind, key.value.to_string());
            let (account, mut grant) = unstored(&name, profile, facts, standing.revision, self.started_at);
            let rule = settings.catalogue.environment(profile.id.as_str());
            place_value(&mut grant, standing, rule.and_then(|rule| rule.oauth_token_prefix.as_deref()));
            loaded.accounts.push(account);
            loaded.grants.push(grant);
        }
        self.with_ambient(loaded, &settings, providers);
    }
}

impl Inner {
    /// A grant with its secret, wherever that stands.
    pub(crate) async fn grant_with_value(&self, grant: GrantId) -> Result<Option<GrantRow>, StoreError> {
        let mut found = LoadedVault::default();
        found.grants.extend(self.store.grant_load(grant).await?);
        self.with_values(&mut found, &routes(&self.settings.load()).providers);
        Ok(found.grants.into_iter().find(|row| row.id == grant))
    }
}

/// Writes a value into its grant, or that it cannot be had. What begins like an access token is one, and not a key: what its
/// provider's terms say of logins holds for it.
fn place_value(grant: &mut GrantRow, standing: Standing, token_prefix: Option<&str>) {
    let text = match standing.value {
        Ok(text) => text,
        Err(ValueError(cause)) => {
            grant.state = GrantState::NeedsLogin { cause: format!("its value cannot be had: {cause}"), since: standing.since };
            SecretText::new(String::new())
        }
    };
    let is_token = token_prefix.is_some_and(|prefix| text.expose().starts_with(prefix));
    grant.secret = match grant.secret.kind() {
        CredentialKind::ApiKey if !is_token => GrantSecret::ApiKey { key: text },
        CredentialKind::ApiKey | CredentialKind::OAuth => GrantSecret::OAuth { access: text, refresh: None },
    };
}

/// The id of a credential that is in no vault. It follows from its name, so that it is the same account after every reading.
pub(crate) fn unstored_id(name: &str) -> i64 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    UNSTORED_IDS_FROM + i64::from(hash % 1_000_000_000)
}

/// The rows of a credential that is in no vault, with its source, kind and label.
pub(crate) fn unstored(
    name: &str,
    profile: &ProviderProfile,
    (source, kind, label): (Source, CredentialKind, String),
    revision: GrantRevision,
    since: Timestamp,
) -> (AccountRow, GrantRow) {
    let id = unstored_id(name);
    let empty = || SecretText::new(String::new());
    let account = AccountRow {
        id: AccountId(id),
        provider: profile.id.clone(),
        grant: GrantId(id),
        revision: RowRevision::FIRST,
        identity: Identity::default(),
        source,
        label: Some(label),
        priority: 0,
        options: AccountOptions::default(),
        standing: credential::Standing::Active,
        plan: None,
        logged_in_at: None,
        created_at: since,
        updated_at: since,
    };
    let grant = GrantRow {
        id: GrantId(id),
        provider: profile.id.clone(),
        revision,
        secret: match kind {
            CredentialKind::ApiKey => GrantSecret::ApiKey { key: empty() },
            CredentialKind::OAuth => GrantSecret::OAuth { access: empty(), refresh: None },
        },
        fingerprint: Fingerprint([0; 32]),
        expires_at: None,
        issued_at: since,
        origins: profile.origins_to_store(),
        custody: Custody::Owned,
        state: GrantState::Live,
        intent: None,
        quarantined: None,
    };
    (account, grant)
}

/// Looks at the values again and again, and has the view built anew where one has changed.
pub(crate) async fn values_loop(inner: Weak<Inner>, clock: Arc<dyn claviger_runtime::Clock>) {
    let mut look_at = clock.boot();
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let landing = strong.values.landing();
        if strong.values.has_news() {
            best_effort("put values into the view", strong.rebuild().await);
        }
        if clock.boot() >= look_at {
            strong.fetch_due(&strong.settings.load_full()).await;
            look_at = clock.boot().saturating_add(VALUE_POLL);
        }
        drop(strong);
        tokio::select! {
            () = clock.sleep(look_at.saturating_sub(clock.boot())) => {}
            () = landing => {}
        }
    }
}
