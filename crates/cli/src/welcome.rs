//! What a new server says: where it is, what it serves with, and what to do next.

use crate::admin_socket::{SealedView, ServerFacts};
use crate::adopt::Adopted;
use crate::error::CliError;
use crate::sealed::ASK_AGAIN_EVERY;
use claviger_admin::{Admin, KeyCreate, KeyCreated, StatusView};
use claviger_domain::profile::Dialect;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, SystemClock};
use serde::Serialize;
use std::fmt::Write as _;

/// The name of the key that the first start makes.
const FIRST_KEY_LABEL: &str = "first";

/// The routes of the dialects, as the gateway has them.
const DIALECT_ROUTES: [(Dialect, &str); 4] = [
    (Dialect::Messages, "/v1/messages"),
    (Dialect::Chat, "/v1/chat/completions"),
    (Dialect::Responses, "/v1/responses"),
    (Dialect::Generate, "/v1beta/models"),
];

/// What a new server says.
#[derive(Debug, Serialize)]
pub struct Welcome {
    /// The gateway's address.
    pub url: String,
    /// The process.
    pub server: ServerFacts,
    /// The first virtual key; it is shown here and nowhere else. Absent where there was one already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyCreated>,
    /// How many keys work.
    pub keys_active: u64,
    /// Accounts by provider.
    pub accounts: Vec<Served>,
    /// Why requests are served and somebody should look all the same; empty where all is well.
    pub degraded: Vec<String>,
    /// Logins of other tools that were found.
    pub adopted: Vec<Adopted>,
    /// Routes by dialect.
    pub routes: Vec<RouteView>,
}

/// A provider with accounts.
#[derive(Debug, Serialize)]
pub struct Served {
    /// Its id.
    pub provider: String,
    /// All accounts.
    pub accounts: u64,
    /// Those that can serve now.
    pub ready: u64,
    /// The base URL of its pass-through.
    pub base_url: String,
}

/// A dialect's own route.
#[derive(Debug, Serialize)]
pub struct RouteView {
    /// The dialect.
    pub dialect: &'static str,
    /// Its address.
    pub url: String,
    /// The provider that serves it where no `[routes]` pattern says otherwise.
    pub provider: String,
}

impl Welcome {
    /// Gathers what is to be said, and makes the first key where none works.
    pub async fn gather(admin: &dyn Admin, server: ServerFacts, catalogue: &Catalogue, adopted: Vec<Adopted>) -> Result<Self, CliError> {
        let key = first_key(admin).await?;
        let status: StatusView = admin.status().await?;
        let url = format!("http://{}", server.listen);
        let served = status.providers.iter().filter(|provider| provider.accounts > 0).map(|provider| Served {
            provider: provider.provider.clone(),
            accounts: provider.accounts,
            ready: provider.ready,
            base_url: format!("{url}/{}", provider.provider),
        });
        let routes = DIALECT_ROUTES.iter().filter_map(|(dialect, path)| {
            let provider = catalogue.default_for(*dialect)?.to_string();
            Some(RouteView { dialect: dialect.as_str(), url: format!("{url}{path}"), provider })
        });
        let (accounts, mut routes): (Vec<Served>, Vec<RouteView>) = (served.collect(), routes.collect());
        if !accounts.is_empty() {
            routes.retain(|route| accounts.iter().any(|served| served.provider == route.provider));
        }
        Ok(Self { url, server, key, keys_active: status.keys_active, accounts, degraded: status.degraded, adopted, routes })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| writeln!(text, "{name:<10}{value}").expect("writing to a String never fails");
        line("gateway", format!("{} (pid {})", self.url, self.server.pid));
        if let Some(simulator) = &self.server.simulator {
            line("simulator", simulator.clone());
        }
        if self.accounts.is_empty() {
            line("accounts", "none yet: claviger login PROVIDER".to_owned());
        }
        for served in &self.accounts {
            line("accounts", format!("{} of {} ready for {} at {}", served.ready, served.accounts, served.provider, served.base_url));
        }
        for why in &self.degraded {
            line("degraded", format!("{why} (claviger account list)"));
        }
        match &self.key {
            Some(key) => line("key", format!("{} (shown this once; more: claviger key create)", key.key.expose())),
            None => line("keys", format!("{} active (claviger key list)", self.keys_active)),
        }
        for route in &self.routes {
            line("route", format!("{} to {}", route.url, route.provider));
        }
        line("next", "give a client one of these addresses and the key as its API key; then: claviger status".to_owned());
        text
    }
}

/// What a new server says whose vault is still sealed.
#[derive(Debug, Serialize)]
pub struct SealedWelcome {
    /// The gateway's address.
    url: String,
    /// The process.
    server: ServerFacts,
    /// Why nobody is served yet.
    sealed: SealedView,
}

impl SealedWelcome {
    /// For a server.
    pub fn new(server: ServerFacts, sealed: SealedView) -> Self {
        Self { url: format!("http://{}", server.listen), server, sealed }
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { url, server, sealed } = self;
        format!(
            "gateway   {url} (pid {})\nsealed    {}: nobody is served yet\nnext      {}; the server tries again every {} s",
            server.pid,
            sealed.why,
            sealed.hint,
            ASK_AGAIN_EVERY.as_secs()
        )
    }
}

/// Makes a key where none works.
async fn first_key(admin: &dyn Admin) -> Result<Option<KeyCreated>, CliError> {
    let now: Timestamp = SystemClock.now();
    let keys = admin.key_list().await?.keys;
    let works = |key: &claviger_admin::KeyView| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now);
    if keys.iter().any(works) {
        return Ok(None);
    }
    let ask = KeyCreate { label: Some(FIRST_KEY_LABEL.to_owned()), ..KeyCreate::default() };
    Ok(Some(admin.key_create(ask).await?))
}
