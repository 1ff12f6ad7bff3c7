//! The view: what requests read. Immutable, built from the vault and the settings, replaced as a whole.

use crate::account::{AccountLive, Blocks, Reach, live_grant, masked_key, model_prefixes, own_client_only};
use crate::ambient::is_ambient;
use crate::grant::{GrantFacts, GrantLive, Moment};
use crate::keys::{KeyEntry, KeyUse};
use crate::limits::{REBUILD_TURNS_MAX, VALUE_PATIENCE};
use crate::ranking::ProviderView;
use crate::sticky::StickyTable;
use crate::usage::live::AccountUsage;
use crate::{Inner, PoolSettings};
use claviger_contract::{LiveCell, Routes};
use claviger_domain::cascade::Rung;
use claviger_domain::credential::{CredentialKind, Source, Standing};
use claviger_domain::id::{AccountId, GrantId, GrantRevision, ProviderId};
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::Purpose;
use claviger_domain::profile::{Dialect, ProviderProfile};
use claviger_domain::virtual_key::Accessor;
use claviger_store::{AccountRow, GrantRow, GuardState, LoadedVault, RowFault, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

/// What requests read.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The vault's version when it was read.
    pub(crate) version: u64,
    pub(crate) providers: HashMap<ProviderId, ProviderView>,
    pub(crate) accounts: HashMap<AccountId, Arc<AccountLive>>,
    pub(crate) grants: HashMap<GrantId, Arc<GrantLive>>,
    pub(crate) keys: HashMap<Accessor, KeyEntry>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) faults: Vec<RowFault>,
    /// What the guard against copies of the vault found.
    pub(crate) guard: GuardState,
    /// Accounts whose provider is in no catalogue, or whose grant cannot be read; listed, never leased.
    pub(crate) stranded: Vec<AccountRow>,
}

/// What became of a reading of the vault by the time its view was in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing newer was published.
    Current,
    /// A newer secret was published: the vault is read again.
    Overtaken,
}

impl View {
    /// The accounts that use a grant.
    pub(crate) fn accounts_of(&self, grant: GrantId) -> impl Iterator<Item = &Arc<AccountLive>> {
        self.accounts.values().filter(move |account| account.row.grant == grant)
    }

    /// The proxy through which a grant is refreshed. Accounts that share a grant may have several: that of the oldest one which has
    /// one at all.
    pub(crate) fn proxy_of(&self, grant: GrantId) -> Option<ProxyUrl> {
        let proxied = self.accounts_of(grant).filter_map(|account| Some((account.row.id, account.row.options.proxy.clone()?)));
        proxied.min_by_key(|(id, _)| *id).map(|(_, proxy)| proxy)
    }

    /// A provider's profile by id or alias.
    pub(crate) fn profile(&self, name: &str) -> Option<&Arc<ProviderProfile>> {
        self.routes.provider(name)
    }
}

impl Inner {
    /// Reads the vault and replaces the view. What lives across views (credential cells, flights, blocks, key use) is carried over.
    /// Values that stand elsewhere are looked at as well; with what is fetched within a moment the view is replaced once more.
    pub(crate) async fn rebuild(&self) -> Result<(), StoreError> {
        self.read_again().await?;
        // Not under the lock: a program that hangs is waited for by nobody else.
        self.values.settle(VALUE_PATIENCE, &*self.clock, |_| true).await;
        if self.values.has_news() {
            self.read_again().await?;
        }
        Ok(())
    }

    async fn read_again(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.rebuild.lock().await;
        for _turn in 0..REBUILD_TURNS_MAX {
            self.view.load().accounts.values().for_each(|account| account.blocks.note_reading());
            let mut loaded = self.store.load().await?;
            for fault in &loaded.faults {
                tracing::error!(row = %fault, "a row of the vault cannot be read");
            }
            self.fetch_values(&loaded.grants).await;
            let changes = self.values.changes();
            self.with_values(&mut loaded, &routes(&self.settings.load()).providers);
            let reading = self.install(loaded);
            self.values.note_placed(changes);
            if reading == Reading::Current {
                break;
            }
        }
        Ok(())
    }

    /// Puts a view of what was read in place, and ends the cells that it no longer has.
    pub(crate) fn install(&self, loaded: LoadedVault) -> Reading {
        let old = self.view.load_full();
        let new = Arc::new(self.build(&old, loaded));
        self.view.store(Arc::clone(&new));
        self.care.mark();
        for (id, account) in &old.accounts {
            let kept = new.accounts.get(id).is_some_and(|now| Arc::ptr_eq(&now.cell, &account.cell));
            if !kept {
                account.cell.retire();
            }
        }
        // A flight that published meanwhile knew the old cells only: a new one may hold what was read before.
        let overtaken = |account: &Arc<AccountLive>| account.cell.revision() < account.grant.facts().revision;
        if new.accounts.values().any(overtaken) { Reading::Overtaken } else { Reading::Current }
    }

    fn build(&self, old: &View, loaded: LoadedVault) -> View {
        let LoadedVault { version, accounts, grants, blocks, keys, faults, guard } = loaded;
        let (settings, moment) = (self.settings.load_full(), Moment::of(&*self.clock));
        let routes = Arc::new(routes(&settings));
        let grants: HashMap<GrantId, GrantRow> = grants.into_iter().map(|grant| (grant.id, grant)).collect();
        let mut view = View { version, routes, faults, guard, ..View::default() };
        for row in accounts {
            let (Some(profile), Some(grant)) = (view.routes.provider(row.provider.as_str()).cloned(), grants.get(&row.grant)) else {
                view.stranded.push(row);
                continue;
            };
            let stored = blocks.iter().filter(|(account, _)| *account == row.id).map(|(_, block)| block.clone()).collect::<Vec<_>>();
            let live = view.grants.entry(grant.id).or_insert_with(|| self.grant_live(old, grant));
            let account = account_live(old, row, profile, grant, Arc::clone(live));
            account.blocks.adopt(&stored, moment);
            view.accounts.insert(account.row.id, Arc::new(account));
        }
        view.keys = keys
            .into_iter()
            .map(|row| {
                let usage = old.keys.get(&row.key.accessor).map(|key| Arc::clone(&key.usage));
                let usage = usage.unwrap_or_else(|| Arc::new(KeyUse::new(Arc::clone(&self.clock), Arc::clone(&self.counters))));
                (row.key.accessor, KeyEntry::new(row, usage))
            })
            .collect();
        Arc::make_mut(&mut view.routes).model_prefixes = model_prefixes(&view.accounts);
        view.providers = ranked(&view.accounts, &old.providers, moment);
        view
    }

    fn grant_live(&self, old: &View, row: &GrantRow) -> Arc<GrantLive> {
        match old.grants.get(&row.id).filter(|live| !is_behind(live.facts().revision, row)) {
            Some(live) => {
                live.publish(&GrantFacts::of(row, &*self.clock));
                Arc::clone(live)
            }
            None => Arc::new(GrantLive::new(row, &*self.clock)),
        }
    }

    /// Publishes a grant that was read from the vault: first the credential, then the facts that lead requests to it.
    pub(crate) fn publish(&self, grant: &GrantLive, row: &GrantRow) {
        let facts = GrantFacts::of(row, &*self.clock);
        loop {
            let view = self.view.load_full();
            for account in view.accounts_of(row.id) {
                if let Some(live) = live_grant(&account.profile, &account.row.identity, row).filter(|_| account.reach == Reach::Admitted) {
                    account.cell.publish(live);
                }
            }
            // Not always the same: while a row cannot be read, its grant is in no view.
            for live in view.grants.get(&row.id).map(Arc::as_ref).into_iter().chain([grant]) {
                live.publish(&facts);
            }
            // A view that came into place meanwhile may have cells of its own.
            if Arc::ptr_eq(&view, &self.view.load()) {
                self.care.mark();
                return;
            }
        }
    }

    /// Loads the sessions that were written behind.
    pub(crate) async fn load_sticky(&self) -> Result<(), StoreError> {
        let since = self.clock.now().minus(crate::limits::STICKY_IDLE_MAX);
        for row in self.store.sticky_load(since).await? {
            self.sticky.put(row.session, row.account, row.used_at);
        }
        Ok(())
    }

    pub(crate) fn sticky(&self) -> &StickyTable {
        &self.sticky
    }
}

fn account_live(old: &View, row: AccountRow, profile: Arc<ProviderProfile>, grant: &GrantRow, live: Arc<GrantLive>) -> AccountLive {
    let credential = live_grant(&profile, &row.identity, grant);
    let reach = AccountLive::reach(&profile, &grant.origins, credential.as_ref());
    let refresh_reach = AccountLive::refresh_reach(&profile, grant);
    let before = old.accounts.get(&row.id);
    // What another key was refused for says nothing of this one; a login of this machine has many tokens, as every login has.
    let is_login = !row.id.is_unstored() || is_ambient(grant.id, &grant.custody);
    let same_key = before.filter(|before| is_login || before.cell.revision() == grant.revision);
    let servable = reach == Reach::Admitted && row.standing == Standing::Active;
    let credential = credential.filter(|_| servable);
    // A cell lives on while the account keeps its grant and may serve; else leases in hand end with the old one.
    let kept = before.filter(|before| before.row.grant == row.grant && before.reach == reach && before.row.standing == Standing::Active);
    let kept = kept.filter(|before| !is_behind(before.cell.revision(), grant));
    let cell = match (kept, credential) {
        (Some(before), Some(credential)) => {
            before.cell.publish(credential);
            Arc::clone(&before.cell)
        }
        (_, credential) => Arc::new(credential.map_or_else(LiveCell::ended, LiveCell::new)),
    };
    let blocks = same_key.map_or_else(|| Arc::new(Blocks::default()), |before| Arc::clone(&before.blocks));
    // What one address has told of an account says nothing of what another would.
    let told_here = before.filter(|before| before.profile.origins == profile.origins);
    let usage = told_here.map_or_else(|| Arc::new(AccountUsage::default()), |before| Arc::clone(&before.usage));
    let allowed = Arc::new(profile.origins.of(Purpose::Inference).clone());
    let kind = grant.secret.kind();
    let origin = AccountLive::origin(&profile, &row.identity);
    AccountLive {
        rung: rung(kind, row.source),
        kind,
        masked_key: masked_key(&grant.secret),
        own_client_only: own_client_only(&profile, &row, kind),
        row,
        profile,
        grant: live,
        cell,
        allowed,
        origin,
        reach,
        refresh_reach,
        blocks,
        usage,
    }
}

/// Whether a key that was read begins to count anew: the revision of one that stands elsewhere moves with what it refers to, and
/// that of what takes its place does not know of it. No flight publishes keys, so what was read last is the latest.
fn is_behind(held: GrantRevision, row: &GrantRow) -> bool {
    row.secret.kind() == CredentialKind::ApiKey && row.revision < held
}

/// Every provider's accounts that may be picked, in order.
fn ranked(
    accounts: &HashMap<AccountId, Arc<AccountLive>>,
    old: &HashMap<ProviderId, ProviderView>,
    moment: Moment,
) -> HashMap<ProviderId, ProviderView> {
    let mut by_provider: HashMap<&ProviderId, Vec<Arc<AccountLive>>> = HashMap::new();
    for account in accounts.values().filter(|account| account.row.standing == Standing::Active) {
        by_provider.entry(&account.profile.id).or_default().push(Arc::clone(account));
    }
    let view = |(id, accounts): (&ProviderId, Vec<Arc<AccountLive>>)| {
        let profile = accounts.first().map(|account| Arc::clone(&account.profile))?;
        Some((id.clone(), ProviderView::new(profile, accounts, old.get(id), moment)))
    };
    by_provider.into_iter().filter_map(view).collect()
}

/// The source of an account in the cascade.
fn rung(kind: CredentialKind, source: Source) -> Rung {
    match (source, kind) {
        (Source::Runtime, _) => Rung::Runtime,
        (Source::Config, _) => Rung::Config,
        (Source::Environment, _) => Rung::Environment,
        (Source::Login | Source::Imported, CredentialKind::OAuth) => Rung::OAuth,
        (Source::Login, CredentialKind::ApiKey) => Rung::LoginKey,
        (Source::Imported, CredentialKind::ApiKey) => Rung::ImportedKey,
    }
}

pub(crate) fn routes(settings: &PoolSettings) -> Routes {
    let mut providers = HashMap::new();
    for profile in settings.catalogue.iter() {
        for alias in &profile.aliases {
            providers.entry(alias.clone()).or_insert_with(|| Arc::clone(profile));
        }
    }
    for profile in settings.catalogue.iter() {
        providers.insert(profile.id.as_str().to_owned(), Arc::clone(profile));
    }
    let dialects = [Dialect::Messages, Dialect::Chat, Dialect::Responses, Dialect::Generate];
    let dialects = dialects.into_iter().filter_map(|dialect| Some((dialect, settings.catalogue.default_for(dialect)?.clone()))).collect();
    Routes { providers, models: settings.models.clone(), dialects, model_prefixes: HashMap::new() }
}
