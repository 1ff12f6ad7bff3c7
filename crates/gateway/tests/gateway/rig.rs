//! A whole setup: simulator, broker, gateway and clock.

use crate::broker::{Account, FakeBroker, GOOD, Refresh, key_text, live};
use crate::client::{self, Answer, Open, Request};
use crate::clock::ManualClock;
use claviger_contract::{LiveCell, Routes};
use claviger_domain::classify::ClassTable;
use claviger_domain::family::Families;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::origin::Origins;
use claviger_domain::profile::{
    ClientMark, Dialect, HeaderMode, HeaderRule, HeaderText, IdentityRule, MarkTest, PlanRules, ProviderProfile, SessionRule, TermsRule,
    UsageRule, WireRule,
};
use claviger_egress::{Egress, EgressConfig};
use claviger_gateway::{Gateway, GatewayConfig};
use claviger_runtime::{Clock, Supervisor};
use claviger_simulator::{Ledger, Simulator, SimulatorConfig};
use http::{HeaderName, HeaderValue, header};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

pub struct Rig {
    pub simulator: Simulator,
    pub broker: FakeBroker,
    pub gateway: Arc<Gateway<FakeBroker>>,
    pub clock: Arc<ManualClock>,
    pub supervisor: Arc<Supervisor>,
    pub addr: SocketAddr,
}

/// How a rig differs from the usual one.
pub struct Setup {
    /// Accounts by name; the first one that may serve does.
    pub accounts: Vec<(&'static str, Refresh)>,
    pub header: HeaderName,
    pub config: GatewayConfig,
    /// Where the providers are, instead of the simulator.
    pub upstream: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        let accounts = vec![("ada", Refresh::Works), ("bob", Refresh::Works)];
        Self { accounts, header: header::AUTHORIZATION, config: GatewayConfig::default(), upstream: None }
    }
}

fn profile(id: &str, dialect: Dialect, base: &str) -> Arc<ProviderProfile> {
    let base: claviger_domain::origin::Endpoint = base.parse().unwrap();
    let version = HeaderRule {
        name: HeaderName::from_static("anthropic-version"),
        value: HeaderText::Fixed(HeaderValue::from_static("2023-06-01")),
        mode: HeaderMode::IfAbsent,
    };
    let wire = WireRule {
        header: header::AUTHORIZATION,
        scheme: Some("Bearer".to_owned()),
        extra: vec![version],
        query: Vec::new(),
        signing: None,
    };
    let inference = BTreeSet::from([base.origin.clone()]);
    Arc::new(ProviderProfile {
        id: ProviderId::new(id).unwrap(),
        name: id.to_owned(),
        aliases: Vec::new(),
        dialects: vec![dialect],
        origins: Origins { inference, ..Origins::default() },
        base,
        builtin_origins: None,
        api_key: Some(wire),
        oauth: None,
        refresh: None,
        classes: ClassTable::default(),
        session: SessionRule { headers: vec![HeaderName::from_static("x-session-id")], fields: Vec::new() },
        prompt_cache_life: claviger_domain::select::CACHE_LIFE,
        env: Vec::new(),
        identity: IdentityRule::default(),
        hook_urls: BTreeMap::new(),
        login_origins: BTreeSet::new(),
        families: Families::default(),
        plans: PlanRules::default(),
        terms: TermsRule {
            own_client: vec![ClientMark { header: header::USER_AGENT, test: MarkTest::Prefix("own-client/".to_owned()) }],
            ..TermsRule::default()
        },
        usage: UsageRule::default(),
    })
}

fn routes(origin: &str) -> Routes {
    let table = [
        ("anthropic", Dialect::Messages, String::new()),
        ("openai", Dialect::Chat, "/v1".to_owned()),
        ("google", Dialect::Generate, "/v1beta".to_owned()),
    ];
    let providers = table.map(|(id, dialect, path)| (id.to_owned(), profile(id, dialect, &format!("{origin}{path}"))));
    let id = |id: &str| ProviderId::new(id).unwrap();
    let dialects = HashMap::from([
        (Dialect::Messages, id("anthropic")),
        (Dialect::Chat, id("openai")),
        (Dialect::Responses, id("openai")),
        (Dialect::Generate, id("google")),
    ]);
    Routes {
        providers: HashMap::from(providers),
        models: vec![(claviger_contract::Pattern::new("claude-*"), id("anthropic"))],
        dialects,
        model_prefixes: HashMap::from([(id("openai"), BTreeSet::from(["team-a".parse().unwrap()]))]),
    }
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let clock = ManualClock::new();
        let times = Arc::clone(&clock);
        let config = SimulatorConfig { clock: Arc::new(move || times.now().0), ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.unwrap();
        let control = simulator.control();
        let accounts = (1..).zip(setup.accounts).map(|(id, (name, refresh))| {
            let token = control.grant_issue(name).access;
            let cell = Arc::new(LiveCell::new(live(&setup.header, 1, &token)));
            Account { id: AccountId(id), name: name.to_owned(), cell, header: setup.header.clone(), refresh }
        });
        let accounts = accounts.collect();
        let upstream = setup.upstream.unwrap_or_else(|| simulator.origin());
        let broker = FakeBroker::new(control.clone(), routes(&upstream), accounts);
        let shared: Arc<dyn Clock> = clock.clone();
        let egress = Egress::new(EgressConfig::default(), Arc::clone(&shared));
        let gateway = Arc::new(Gateway::new(broker.clone(), egress, shared, setup.config));
        let supervisor = Arc::new(Supervisor::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (serving, owner) = (Arc::clone(&gateway), Arc::clone(&supervisor));
        supervisor.spawn("gateway", async move { serving.serve(listener, &owner).await });
        Self { simulator, broker, gateway, clock, supervisor, addr }
    }

    pub fn ledger(&self) -> Ledger {
        self.simulator.ledger()
    }

    pub async fn open(&self, request: &Request) -> Open {
        client::open(self.addr, request).await
    }

    pub async fn send(&self, request: &Request) -> Answer {
        self.open(request).await.whole().await
    }

    /// Sends bytes on a connection that the client closes for writing only by asking so.
    pub async fn raw(&self, request: &Request) -> String {
        client::raw(self.addr, &request.clone().header("Connection", "close").bytes(self.addr)).await
    }
}

/// A good request for text, without a stream.
pub fn chat() -> Request {
    Request::new("POST", "/v1/chat/completions")
        .header("authorization", &format!("Bearer {}", key_text(GOOD)))
        .header("content-type", "application/json")
        .body(r#"{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}"#)
}

/// The same as a stream.
pub fn chat_stream() -> Request {
    chat().body(r#"{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"hi"}]}"#)
}
