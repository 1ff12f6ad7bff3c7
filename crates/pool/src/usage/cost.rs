//! What requests cost, where somebody knows: noted for the account that served, which makes its usage worth asking for again.

use crate::{Inner, Pool};
use claviger_contract::AttemptFacts;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::session::SessionHash;
use claviger_store::{Cost, CostRow};
use http::HeaderMap;

/// What one request cost.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestCost {
    /// The provider.
    pub provider: ProviderId,
    /// The account that served it, where that is known.
    pub account: Option<AccountId>,
    /// Its conversation, by which the account is found where it is not named.
    pub session: Option<SessionHash>,
    /// The model.
    pub model: Option<String>,
    /// In US dollars.
    pub usd: f64,
}

impl Pool {
    /// Notes what a request cost; never waits. `false` where it is no price (nothing, less, or no number), or where nobody can
    /// say which account it belongs to: it is named, or its session has one, or the provider has only one.
    pub fn record_cost(&self, paid: RequestCost) -> bool {
        self.inner.record_cost(paid)
    }
}

impl Inner {
    /// What an answer tells of its own cost, where its provider does.
    pub(crate) fn cost_told(&self, facts: &AttemptFacts, headers: &HeaderMap) {
        let told = facts.provider.usage.cost.as_ref().and_then(|name| headers.get(name)?.to_str().ok()?.trim().parse().ok());
        let Some(usd) = told else { return };
        let paid = RequestCost { provider: facts.provider.id.clone(), account: Some(facts.account), session: None, model: None, usd };
        // What is no price is nothing that anybody could mend here.
        let _noted: bool = self.record_cost(paid);
    }

    fn record_cost(&self, paid: RequestCost) -> bool {
        let RequestCost { provider, account, session, model, usd } = paid;
        let Some(cost) = Cost::usd(usd) else { return false };
        let view = self.view.load();
        let of_session = || {
            let key = crate::sticky::sticky_key(&provider, session?);
            self.sticky().get(key).map(|pin| pin.account)
        };
        let the_only_one = || {
            let mut accounts = view.accounts.values().filter(|account| account.profile.id == provider);
            accounts.next().filter(|_| accounts.next().is_none()).map(|account| account.row.id)
        };
        let Some(id) = account.or_else(of_session).or_else(the_only_one) else { return false };
        let Some(account) = view.accounts.get(&id).filter(|account| account.profile.id == provider) else { return false };
        self.log.cost_append(CostRow { at: self.clock.now(), provider, account: Some(id), model, cost });
        account.usage.flight.make_due();
        true
    }
}
