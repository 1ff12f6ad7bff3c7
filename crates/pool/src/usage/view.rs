//! What accounts have left, for people and programs that ask.

use super::flight::{self, Polled};
use crate::Inner;
use crate::account::{AccountLive, Obstacle};
use crate::admin::{failed, not_found, profile_named};
use crate::grant::Moment;
use crate::limits::USAGE_KEPT;
use claviger_admin::{
    AccountUsageView, AdminError, CostView, LimitView, UsageAsk, UsagePoint, UsageSeries, UsageView, WasteView, source_word,
};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{UsageReport, status_of};
use claviger_runtime::best_effort;
use claviger_store::{CostTotal, LogFilter, UsageRow, WasteRow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Inner {
    pub(crate) async fn usage_view(self: &Arc<Self>, ask: UsageAsk) -> Result<UsageView, AdminError> {
        self.rebuild().await.map_err(failed)?;
        let accounts = self.usage_accounts(&ask)?;
        let before = Moment::of(&*self.clock);
        let is_silent = |account: &AccountLive| known(account, before.now).is_none() && self.usage_may_be_asked(account, before);
        let asks = |account: &&Arc<AccountLive>| (ask.fresh && !flight::is_fresh(account, before)) || is_silent(account);
        let asked: Vec<_> = accounts.iter().filter(asks).map(Arc::clone).collect();
        let polled: BTreeMap<AccountId, _> = asked.iter().map(|account| account.row.id).zip(self.usage_ask(&asked).await).collect();
        let moment = Moment::of(&*self.clock);
        let shown = accounts.iter().map(|account| shown(account, polled.get(&account.row.id).cloned().flatten(), moment)).collect();
        let mut view = UsageView { accounts: shown, ..UsageView::default() };
        self.usage_effects.flush().await;
        let provider = accounts.first().filter(|_| ask.provider.is_some()).map(|account| account.profile.id.clone());
        let past = ask.history_s.map_or(UsageAsk::PAST_DEFAULT, Duration::from_secs);
        let filter = LogFilter { since: moment.now.minus(past), provider, account: ask.account.map(AccountId) };
        if accounts.is_empty() {
            return Ok(view);
        }
        if ask.history_s.is_some() {
            view.history = series(best_effort("read the history of usage", self.log.usage_list(filter.clone()).await).unwrap_or_default());
        }
        let waste = best_effort("read what was wasted", self.log.waste_list(filter.clone()).await).unwrap_or_default();
        view.waste = waste.into_iter().map(waste_view).collect();
        if ask.costs {
            let totals = best_effort("read costs", self.log.cost_totals(filter).await).unwrap_or_default();
            view.costs = totals.into_iter().map(cost_view).collect();
        }
        Ok(view)
    }

    /// The accounts that a question means, by provider and id.
    fn usage_accounts(&self, ask: &UsageAsk) -> Result<Vec<Arc<AccountLive>>, AdminError> {
        let view = self.view.load();
        let profile = ask.provider.as_deref().map(|name| profile_named(&view, name)).transpose()?;
        let of_provider = |account: &&Arc<AccountLive>| profile.as_ref().is_none_or(|profile| profile.id == account.profile.id);
        if let Some(id) = ask.account.map(AccountId) {
            let account = view.accounts.get(&id).filter(of_provider);
            return Ok(vec![Arc::clone(account.ok_or_else(|| not_found(id))?)]);
        }
        let mut accounts: Vec<_> = view.accounts.values().filter(of_provider).map(Arc::clone).collect();
        accounts.sort_by(|one, other| (&one.profile.id, one.row.id).cmp(&(&other.profile.id, other.row.id)));
        Ok(accounts)
    }
}

/// What is known of an account and not too old.
fn known(account: &AccountLive, now: Timestamp) -> Option<Arc<UsageReport>> {
    account.usage.report().filter(|report| now.until(report.observed_at) < USAGE_KEPT)
}

fn shown(account: &AccountLive, polled: Option<Polled>, moment: Moment) -> AccountUsageView {
    let report = known(account, moment.now);
    let silence = || format!("{} tells no usage for this kind of credential, save in its answers", account.profile.id);
    let note = match polled.or_else(|| flight::obstacle(account).filter(|_| report.is_none())) {
        Some(Polled::Failed(why) | Polled::NotNow(why)) => Some(why),
        Some(Polled::TellsNothing) => report.is_none().then(silence),
        Some(Polled::Told) => None,
        None => account.usage.flight.problem(),
    };
    let blocked_until = account.obstacle(None, moment).map(|Obstacle::Blocked { until, .. }| until);
    let limits = report.iter().flat_map(|report| &report.limits).map(|limit| LimitView::at(limit, moment.now)).collect();
    let observed_at = report.as_ref().map(|report| report.observed_at);
    AccountUsageView {
        account: account.row.id.0,
        provider: account.profile.id.to_string(),
        name: account.row.label.clone().or_else(|| account.row.identity.display().map(str::to_owned)),
        kind: account.kind.as_str().to_owned(),
        plan: report.as_ref().and_then(|report| report.plan.clone()),
        observed_at,
        age_s: observed_at.map(|at| moment.now.until(at).as_secs()),
        source: report.as_ref().map(|report| source_word(report.source).to_owned()),
        limits,
        blocked_until,
        note,
    }
}

fn series(rows: Vec<UsageRow>) -> Vec<UsageSeries> {
    let mut series: BTreeMap<(String, AccountId, String), UsageSeries> = BTreeMap::new();
    for row in rows {
        let UsageRow { account, provider, limit, plan: _, source: _, observed_at } = row;
        let status = status_of(limit.status, limit.used, limit.amount.as_ref());
        let used = limit.used.or_else(|| limit.amount.as_ref().and_then(claviger_domain::usage::Amount::fraction));
        let point = UsagePoint { at: observed_at, used, status: status.as_str().to_owned(), resets_at: limit.resets_at };
        let key = (provider.to_string(), account, limit.id.clone());
        let new =
            || UsageSeries { account: account.0, provider: provider.to_string(), limit: limit.id, label: limit.label, points: Vec::new() };
        series.entry(key).or_insert_with(new).points.push(point);
    }
    series.into_values().collect()
}

fn waste_view(row: WasteRow) -> WasteView {
    let WasteRow { account, provider, limit, label, unused, ended_at, observed_at } = row;
    WasteView { account: account.0, provider: provider.to_string(), limit, label, unused, ended_at, observed_at }
}

fn cost_view(total: CostTotal) -> CostView {
    let CostTotal { provider, account, requests, usd } = total;
    CostView { provider: provider.to_string(), account: account.map(|account| account.0), requests, cost_usd: usd }
}
