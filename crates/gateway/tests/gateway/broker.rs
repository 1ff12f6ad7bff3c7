//! A small broker over live cells: no store, no ranking, refreshes at the simulator by minting a new login.

use crate::clock::START;
use claviger_contract::{
    Admission, AdmissionSink, Answer, Ask, AttemptFacts, AttemptSink, Authorization, Broker, Denial, HeaderEdit, KeyGrant, Lease, LiveCell,
    LiveGrant, Readiness, Record, Refusal, Report, Routes,
};
use claviger_domain::classify::Class;
use claviger_domain::credential::CredentialKind;
use claviger_domain::id::{AccountId, GrantId, GrantRevision, ProviderId};
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::Origin;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::virtual_key::{KeyKind, Presented, RANDOM_BYTES, compose};
use claviger_runtime::BoxFuture;
use claviger_simulator::Control;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What happened, in order, as short words.
#[derive(Debug)]
pub struct Log(watch::Sender<Vec<String>>, Mutex<Vec<Head>>);

/// The head of an answer as a broker hears of it: the account, the status and a header.
pub type Head = (AccountId, u16, Option<String>);

impl Log {
    fn push(&self, line: String) {
        self.0.send_modify(|lines| lines.push(line));
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// The heads of answers that were told, each with the header that says what is left.
    pub fn heads(&self) -> Vec<Head> {
        self.1.lock().unwrap().clone()
    }

    /// Waits until a line has this beginning.
    pub async fn wait_for(&self, beginning: &str) {
        let mut lines = self.0.subscribe();
        lines.wait_for(|lines| lines.iter().any(|line| line.starts_with(beginning))).await.unwrap();
    }
}

impl AttemptSink for Log {
    fn answered(&self, facts: &AttemptFacts, status: StatusCode, headers: &HeaderMap) {
        let left = headers.get("anthropic-ratelimit-unified-5h-utilization").map(|value| value.to_str().unwrap().to_owned());
        self.1.lock().unwrap().push((facts.account, status.as_u16(), left));
    }

    fn ended(&self, facts: &AttemptFacts, report: &Report) {
        let word = match report {
            Report::Seen(Class::UsageLimit { .. }) => "UsageLimit".to_owned(),
            Report::Seen(Class::Policy { .. }) => "Policy".to_owned(),
            Report::Seen(Class::RateLimited { .. }) => "RateLimited".to_owned(),
            Report::Seen(class) => format!("{class:?}"),
            Report::Abandoned => "Abandoned".to_owned(),
        };
        self.push(format!("attempt {}.{} {word}", facts.account, facts.revision));
    }
}

impl AdmissionSink for Log {
    fn ended(&self, _key: &KeyGrant, record: Option<&Record>) {
        self.push(match record {
            Some(record) => {
                let account = record.account.map_or("none".to_owned(), |account| account.to_string());
                format!("record {} {} account {account} attempts {}", record.provider, record.status, record.attempts)
            }
            None => "record absent".to_owned(),
        });
    }
}

#[derive(Debug)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub cell: Arc<LiveCell>,
    /// How a token is written: `authorization` with a scheme, or a header of its own.
    pub header: HeaderName,
    pub refresh: Refresh,
}

/// What happens when the token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// A new one is minted.
    Works,
    /// It is a key: nothing.
    Never,
    /// It never comes to an end.
    Hangs,
    /// The next lease is applied too late, again and again.
    Races,
}

/// Provider, model and session of one question.
pub type Asked = (String, Option<String>, Option<u64>);

#[derive(Debug, Clone)]
pub struct FakeBroker(Arc<State>);

#[derive(Debug)]
pub struct State {
    pub log: Arc<Log>,
    pub accounts: Vec<Account>,
    pub routes: Arc<Routes>,
    pub control: Control,
    keys: HashMap<String, Result<Arc<KeyGrant>, Denial>>,
    /// What the broker was asked.
    pub asks: Mutex<Vec<Asked>>,
    /// With which model prefix it was asked, and whether for the vendor's own client.
    pub limits: Mutex<Vec<(Option<String>, bool)>>,
    /// Says that all accounts serve the vendor's own client alone.
    pub own_client_only: std::sync::atomic::AtomicBool,
    /// The proxy of all accounts.
    pub proxy: Mutex<Option<ProxyUrl>>,
    /// The host that the provider gave to all accounts.
    pub origin: Mutex<Option<Arc<Origin>>>,
    /// Panics in `admit`, to see what a panic takes along.
    pub panics: std::sync::atomic::AtomicBool,
    /// Says that somebody should look.
    pub degraded: std::sync::atomic::AtomicBool,
}

impl std::ops::Deref for FakeBroker {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

/// The text of a test's virtual key.
pub fn key_text(fill: u8) -> String {
    compose(KeyKind::Standing, &[fill; RANDOM_BYTES]).1.expose().to_owned()
}

/// A good key, one that only knows a provider called `elsewhere`, and a revoked one.
pub const GOOD: u8 = 1;
pub const NARROW: u8 = 2;
pub const REVOKED: u8 = 3;
pub const GOOD_TOO: u8 = 4;

pub fn live(header: &HeaderName, revision: u64, token: &str) -> LiveGrant {
    let text = if *header == header::AUTHORIZATION { format!("Bearer {token}") } else { token.to_owned() };
    let mut value = HeaderValue::from_str(&text).unwrap();
    value.set_sensitive(true);
    LiveGrant::new(GrantRevision(revision), Authorization::Headers(vec![HeaderEdit::Set(header.clone(), value)]), Vec::new())
}

impl FakeBroker {
    pub fn new(control: Control, routes: Routes, accounts: Vec<Account>) -> Self {
        let grant = |fill: u8, providers: Vec<ProviderId>| {
            let text = key_text(fill);
            let accessor = Presented::read(&text).unwrap().accessor;
            Ok(Arc::new(KeyGrant { accessor, kind: KeyKind::Standing, label: None, providers, accounts: Vec::new(), expires_at: None }))
        };
        let keys = HashMap::from([
            (key_text(GOOD), grant(GOOD, Vec::new())),
            (key_text(GOOD_TOO), grant(GOOD_TOO, Vec::new())),
            (key_text(NARROW), grant(NARROW, vec![ProviderId::new("elsewhere").unwrap()])),
            (key_text(REVOKED), Err(Denial::Revoked)),
        ]);
        let log = Arc::new(Log(watch::Sender::new(Vec::new()), Mutex::default()));
        let (asks, limits, proxy, origin) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(State {
            log,
            accounts,
            routes: Arc::new(routes),
            control,
            keys,
            asks,
            limits,
            own_client_only: false.into(),
            proxy,
            origin,
            panics: false.into(),
            degraded: false.into(),
        }))
    }

    fn profile(&self, id: &ProviderId) -> Arc<ProviderProfile> {
        Arc::clone(self.routes.provider(id.as_str()).unwrap())
    }
}

impl Broker for FakeBroker {
    type Pending = BoxFuture<'static, Result<(), Refusal>>;

    fn admit(&self, key: &Presented<'_>, peer: Option<IpAddr>) -> Result<Admission, Refusal> {
        assert!(!self.panics.load(std::sync::atomic::Ordering::Relaxed), "on purpose");
        assert!(peer.unwrap().is_loopback());
        let grant = self.keys.get(key.expose()).cloned().unwrap_or(Err(Denial::Unknown))?;
        Ok(Admission::new(grant, Arc::clone(&self.log) as Arc<dyn AdmissionSink>))
    }

    fn lease<'ask>(&self, ask: &'ask Ask<'_>) -> Answer<'ask, Self::Pending> {
        let asked = (ask.provider.to_string(), ask.model.map(str::to_owned), ask.session.map(|session| session.0));
        self.asks.lock().unwrap().push(asked);
        self.limits.lock().unwrap().push((ask.model_prefix.map(str::to_owned), ask.own_client));
        if self.own_client_only.load(std::sync::atomic::Ordering::Relaxed) && !ask.own_client {
            return Answer::Refused(Refusal::OwnClientOnly { provider: ask.provider.clone(), account: AccountId(1) });
        }
        let provider = self.profile(ask.provider);
        for (index, account) in self.accounts.iter().enumerate() {
            let grant = GrantId(account.id.0);
            let revision = account.cell.revision();
            let facts = AttemptFacts {
                account: account.id,
                grant,
                revision,
                kind: CredentialKind::OAuth,
                provider: Arc::clone(&provider),
                session: ask.session,
                proxy: self.proxy.lock().unwrap().clone(),
                origin: self.origin.lock().unwrap().clone(),
            };
            if account.refresh == Refresh::Races {
                let facts = AttemptFacts { revision: revision.next(), ..facts };
                return Answer::Ready(self.wrap(facts, account));
            }
            if ask.attempts.allows(account.id, grant, revision) {
                return Answer::Ready(self.wrap(facts, account));
            }
            if !ask.attempts.allows(account.id, grant, revision.next()) {
                continue;
            }
            match account.refresh {
                Refresh::Works => return Answer::Pending(self.refresh(index)),
                Refresh::Hangs => return Answer::Pending(Box::pin(std::future::pending())),
                Refresh::Never | Refresh::Races => {}
            }
        }
        let provider = ask.provider.clone();
        Answer::Refused(if self.accounts.is_empty() {
            Refusal::NoCredential { provider }
        } else {
            Refusal::AllBlocked { provider, retry_at: START.plus(Duration::from_millis(90_500)) }
        })
    }

    fn readiness(&self) -> Readiness {
        if self.degraded.load(std::sync::atomic::Ordering::Relaxed) { Readiness::Degraded } else { Readiness::Whole }
    }

    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes)
    }
}

impl FakeBroker {
    fn wrap<'ask>(&self, facts: AttemptFacts, account: &Account) -> Lease<'ask> {
        let mut allowed = facts.provider.origins.inference.clone();
        allowed.extend(facts.origin.as_deref().cloned());
        let allowed = Arc::new(allowed);
        Lease::new(facts, Arc::clone(&account.cell), allowed, Arc::clone(&self.log) as Arc<dyn AttemptSink>)
    }

    fn refresh(&self, index: usize) -> BoxFuture<'static, Result<(), Refusal>> {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            let account = &state.accounts[index];
            let minted = state.control.grant_issue(&account.name);
            let next = account.cell.revision().next().0;
            account.cell.publish(live(&account.header, next, &minted.access));
            state.log.push(format!("refresh {}", account.id));
            Ok(())
        })
    }
}
