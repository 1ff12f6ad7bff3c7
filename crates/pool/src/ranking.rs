//! A provider's accounts in order, for each scope of its models. Replaced apart from the view, so that what an answer tells of one
//! account copies neither keys nor other providers.

use crate::account::AccountLive;
use crate::grant::Moment;
use arc_swap::ArcSwap;
use claviger_domain::block::{Block, BlockScope};
use claviger_domain::cascade::Rung;
use claviger_domain::id::AccountId;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::select::{ACCOUNTS_PER_PROVIDER_MAX, Candidate, Order, PlanNeed, Rule, Scope, Wanted, choose, order};
use claviger_domain::usage::UsageReport;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One provider's accounts that may be picked.
#[derive(Debug)]
pub(crate) struct ProviderView {
    profile: Arc<ProviderProfile>,
    /// By id. The orders' slots are positions here: a request looks nothing up by id.
    accounts: Vec<Arc<AccountLive>>,
    orders: ArcSwap<Orders>,
}

/// The orders of one provider, by the scopes of its models.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// One alone where all scopes have the same; else one for each pair of a family, or none, and a row of plans, or none.
    by_scope: Vec<Arc<Order>>,
}

/// What the order of an account follows from, held while orders are built.
struct Facts<'a> {
    account: &'a AccountLive,
    report: Option<Arc<UsageReport>>,
    blocks: Vec<Block>,
}

impl ProviderView {
    /// Ranks these accounts of one provider. `last` is the view that this one replaces.
    pub(crate) fn new(profile: Arc<ProviderProfile>, mut accounts: Vec<Arc<AccountLive>>, last: Option<&Self>, moment: Moment) -> Self {
        accounts.sort_unstable_by_key(|account| account.row.id);
        accounts.truncate(ACCOUNTS_PER_PROVIDER_MAX);
        let last = last.map(|last| last.orders.load_full()).unwrap_or_default();
        let orders = ArcSwap::from_pointee(Orders::build(&profile, &accounts, &last, moment));
        Self { profile, accounts, orders }
    }

    pub(crate) fn profile(&self) -> &ProviderProfile {
        &self.profile
    }

    /// Builds the orders again from what is known now, and puts them in place.
    pub(crate) fn rank(&self, moment: Moment) {
        let last = self.orders.load();
        self.orders.store(Arc::new(Orders::build(&self.profile, &self.accounts, &last, moment)));
    }

    /// Chooses an account for a request. `usable` says whether one may serve it now. Looks nothing up by id, and waits for nothing.
    pub(crate) fn choose<'view>(
        &'view self,
        model: Option<&str>,
        wanted: &Wanted,
        mut usable: impl FnMut(&'view Arc<AccountLive>) -> bool,
    ) -> Option<&'view Arc<AccountLive>> {
        let orders = self.orders.load();
        let order = self.order_of(&orders, model)?;
        let slot_of = |id: AccountId| self.slot_of(id, order.rung());
        let choice = choose(order, wanted, slot_of, |slot| self.accounts.get(slot).is_some_and(&mut usable))?;
        self.accounts.get(choice.slot)
    }

    /// The accounts that may serve a model, best first.
    pub(crate) fn ranked(&self, model: Option<&str>) -> Vec<&Arc<AccountLive>> {
        let orders = self.orders.load();
        let order = self.order_of(&orders, model);
        order.into_iter().flat_map(Order::slots).filter_map(|slot| self.accounts.get(slot)).collect()
    }

    /// One account, if it is of the rung that won.
    pub(crate) fn by_id(&self, id: AccountId) -> Option<&Arc<AccountLive>> {
        let orders = self.orders.load();
        let rung = self.order_of(&orders, None)?.rung();
        self.accounts.get(self.slot_of(id, rung)?)
    }

    fn order_of<'orders>(&self, orders: &'orders Orders, model: Option<&str>) -> Option<&'orders Order> {
        let at = if orders.by_scope.len() < 2 { 0 } else { scope_position(&self.profile, model) };
        orders.by_scope.get(at).map(Arc::as_ref)
    }

    fn slot_of(&self, id: AccountId, rung: Option<Rung>) -> Option<usize> {
        let slot = self.accounts.binary_search_by_key(&id, |account| account.row.id).ok()?;
        self.accounts.get(slot).filter(|account| Some(account.rung) == rung).map(|_| slot)
    }
}

/// Where the order of a model stands. Position 0 is that of models without a family and for every plan.
fn scope_position(profile: &ProviderProfile, model: Option<&str>) -> usize {
    let Some(model) = model else { return 0 };
    let family = profile.families.position_of(model).map_or(0, |family| family + 1);
    let row = profile.plans.row_of(model).and_then(|found| profile.plans.rows.iter().position(|row| std::ptr::eq(row, found)));
    family * (profile.plans.rows.len() + 1) + row.map_or(0, |row| row + 1)
}

impl Orders {
    /// One order for each scope that differs from another in any limit, block or plan of these accounts.
    fn build(profile: &ProviderProfile, accounts: &[Arc<AccountLive>], last: &Self, moment: Moment) -> Self {
        let facts: Vec<Facts<'_>> = accounts.iter().map(|account| Facts::of(account, moment)).collect();
        let candidates: Vec<Candidate<'_>> = facts.iter().map(Facts::candidate).collect();
        let nobody = Order::default();
        let build = |at: usize, scope: Scope<'_>| {
            let last = last.by_scope.get(at).or(last.by_scope.first()).map_or(&nobody, Arc::as_ref);
            Arc::new(order(&candidates, scope, &Rule::DEFAULT, moment.now, last))
        };
        let mut built: Vec<(Scope<'_>, Arc<Order>)> = Vec::new();
        for scope in scopes(profile, &facts) {
            let same = built.iter().find(|(known, _)| is_same(*known, scope)).map(|(_, order)| Arc::clone(order));
            let order = same.unwrap_or_else(|| build(built.len(), scope));
            built.push((scope, order));
        }
        let mut by_scope: Vec<Arc<Order>> = built.into_iter().map(|(_, order)| order).collect();
        if by_scope.first().is_some_and(|general| by_scope.iter().all(|order| Arc::ptr_eq(order, general))) {
            by_scope.truncate(1);
        }
        Self { by_scope }
    }
}

/// The scopes of a provider's models, where [`scope_position`] looks for them: families of which no account has a limit or a block
/// count as none, and plans as none where nobody's is known.
fn scopes<'a>(profile: &'a ProviderProfile, facts: &'a [Facts<'_>]) -> impl Iterator<Item = Scope<'a>> {
    let metered = metered(facts);
    let families = profile.families.0.iter().map(move |family| Some(family.name.as_str()).filter(|name| metered.contains(name)));
    let plans_matter = facts.iter().any(|facts| facts.plan().is_some());
    let need = move |row| Some(PlanNeed { rules: &profile.plans, row }).filter(|_| plans_matter);
    let of_family = move |family| {
        let rows = profile.plans.rows.iter().map(need);
        std::iter::once(None).chain(rows).map(move |plan| Scope { family, plan })
    };
    std::iter::once(None).chain(families).flat_map(of_family)
}

/// Whether two scopes have the same order.
fn is_same(one: Scope<'_>, other: Scope<'_>) -> bool {
    one.family == other.family && one.plan.map(|need| &need.row.plans) == other.plan.map(|need| &need.row.plans)
}

/// The families of which any account has a limit or a block.
fn metered<'a>(facts: &'a [Facts<'_>]) -> BTreeSet<&'a str> {
    let limits = facts.iter().flat_map(|facts| &facts.report).flat_map(|report| &report.limits).map(|limit| &limit.scope);
    let blocks = facts.iter().flat_map(|facts| &facts.blocks).map(|block| &block.scope);
    let tier = |scope: &'a BlockScope| if let BlockScope::Tier(tier) = scope { Some(tier.as_str()) } else { None };
    limits.chain(blocks).filter_map(tier).collect()
}

impl<'a> Facts<'a> {
    fn of(account: &'a AccountLive, moment: Moment) -> Self {
        Self { account, report: account.usage.report(), blocks: account.blocks.current(moment) }
    }

    fn plan(&self) -> Option<&str> {
        let told = self.report.as_deref().and_then(|report| report.plan.as_deref());
        told.or(self.account.row.plan.as_deref())
    }

    fn candidate(&self) -> Candidate<'_> {
        let AccountLive { row, rung, .. } = self.account;
        Candidate {
            account: row.id,
            rung: *rung,
            priority: row.priority,
            reserve: row.options.reserve,
            weight: row.options.weight,
            plan: self.plan(),
            usage: self.report.as_deref(),
            blocks: &self.blocks,
        }
    }
}
