//! The view: what requests read. Immutable, built from the vault and the settings, replaced as a whole.

use crate::account::{AccountLive, Blocks, Reach, live_grant};
use crate::grant::{GrantFacts, GrantLive, Moment};
use crate::keys::{KeyEntry, KeyUse};
use crate::limits::REBUILD_TURNS_MAX;
use crate::sticky::StickyTable;
use crate::{Inner, PoolSettings};
use claviger_contract::{LiveCell, Routes};
use claviger_domain::cascade::Rung;
use claviger_domain::credential::{CredentialKind, Source, Standing};
use claviger_domain::id::{AccountId, GrantId, ProviderId};
use claviger_domain::origin::Purpose;
use claviger_domain::profile::{Dialect, ProviderProfile};
use claviger_domain::select::{Candidate, Order, order};
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

/// One provider's accounts in order.
#[derive(Debug)]
pub(crate) struct ProviderView {
    pub(crate) order: Order,
    /// The accounts at the positions of the order: a request looks nothing up by id.
    pub(crate) ranked: Vec<Arc<AccountLive>>,
}

impl View {
    /// The accounts that use a grant.
    pub(crate) fn accounts_of(&self, grant: GrantId) -> impl Iterator<Item = &Arc<AccountLive>> {
        self.accounts.values().filter(move |account| account.row.grant == grant)
    }

    /// A provider's profile by id or alias.
    pub(crate) fn profile(&self, name: &str) -> Option<&Arc<ProviderProfile>> {
        self.routes.provider(name)
    }
}

impl Inner {
    /// Reads the vault and replaces the view. What lives across views (credential cells, flights, blocks, key use) is carried over.
    pub(crate) async fn rebuild(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.rebuild.lock().await;
        for _turn in 0..REBUILD_TURNS_MAX {
            let loaded = self.store.load().await?;
            for fault in &loaded.faults {
                tracing::error!(row = %fault, "a row of the vault cannot be read");
            }
            if self.install(loaded) == Reading::Current {
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
        view.providers = orders(&view.accounts);
        view
    }

    fn grant_live(&self, old: &View, row: &GrantRow) -> Arc<GrantLive> {
        match old.grants.get(&row.id) {
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
    let servable = reach == Reach::Admitted && row.standing == Standing::Active;
    let credential = credential.filter(|_| servable);
    // A cell lives on while the account keeps its grant and may serve; else leases in hand end with the old one.
    let kept = before.filter(|before| before.row.grant == row.grant && before.reach == reach && before.row.standing == Standing::Active);
    let cell = match (kept, credential) {
        (Some(before), Some(credential)) => {
            before.cell.publish(credential);
            Arc::clone(&before.cell)
        }
        (_, credential) => Arc::new(credential.map_or_else(LiveCell::ended, LiveCell::new)),
    };
    let blocks = before.map_or_else(|| Arc::new(Blocks::default()), |before| Arc::clone(&before.blocks));
    let allowed = Arc::new(profile.origins.of(Purpose::Inference).clone());
    let kind = grant.secret.kind();
    AccountLive { rung: rung(kind, row.source), kind, row, profile, grant: live, cell, allowed, reach, refresh_reach, blocks }
}

fn orders(accounts: &HashMap<AccountId, Arc<AccountLive>>) -> HashMap<ProviderId, ProviderView> {
    let mut by_provider: HashMap<ProviderId, Vec<Candidate>> = HashMap::new();
    for account in accounts.values().filter(|account| account.row.standing == Standing::Active) {
        let candidate = Candidate { account: account.row.id, rung: account.rung, priority: account.row.priority };
        by_provider.entry(account.profile.id.clone()).or_default().push(candidate);
    }
    let view = |candidates: Vec<Candidate>| {
        let order = order(&candidates);
        let ranked = order.accounts().iter().filter_map(|id| accounts.get(id)).map(Arc::clone).collect();
        ProviderView { order, ranked }
    };
    by_provider.into_iter().map(|(provider, candidates)| (provider, view(candidates))).collect()
}

/// The source of an account in the cascade.
fn rung(kind: CredentialKind, source: Source) -> Rung {
    match (kind, source) {
        (CredentialKind::OAuth, _) => Rung::OAuth,
        (CredentialKind::ApiKey, Source::Login) => Rung::LoginKey,
        (CredentialKind::ApiKey, Source::Imported) => Rung::ImportedKey,
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
    Routes { providers, models: settings.models.clone(), dialects }
}
