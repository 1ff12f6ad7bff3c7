//! The beginning of a login: which way it goes, and what a person does first.

use super::{LoginFacts, Logins, Next, Stage};
use crate::Inner;
use crate::admin::{checked_label, failed, not_found, profile_named};
use crate::control_http::ControlClient;
use claviger_admin::{AdminError, ErrorCode, LoginAsk, LoginStep, LoginWayWord};
use claviger_domain::id::{AccountId, UNSTORED_IDS_FROM};
use claviger_domain::profile::ProviderProfile;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::hooks::{login_params, vendor_login};
use claviger_providers::login::{LoginRule, LoginWay};
use claviger_runtime::random_bytes;
use std::sync::Arc;

/// A way that was chosen, with what it needs.
pub(crate) struct Chosen {
    pub(crate) facts: Arc<LoginFacts>,
    pub(crate) way: LoginWay,
    pub(crate) port: Option<u16>,
}

impl Inner {
    /// Finds out what is asked for, without asking anybody.
    pub(crate) async fn login_choose(&self, ask: LoginAsk) -> Result<Chosen, AdminError> {
        let LoginAsk { provider, way, account, label, port, params, actor } = ask;
        self.rebuild().await.map_err(failed)?;
        let settings = self.settings.load_full();
        let catalogue = &settings.catalogue;
        if let Some(not_ready) = catalogue.not_ready(&provider) {
            return Err(AdminError::new(ErrorCode::Refused, format!("{}: {}", not_ready.id, not_ready.why)).hint(not_ready.hint.clone()));
        }
        let profile = profile_named(&self.view.load(), &provider)?;
        let rule = catalogue.login(profile.id.as_str()).cloned().unwrap_or_default();
        let stores_as = stored_as(catalogue, &rule, &profile)?;
        let account = account.map(AccountId);
        let mut proxy = None;
        if let Some(id) = account {
            let row = self.row(id).filter(|_| id.0 < UNSTORED_IDS_FROM).ok_or_else(|| not_found(id))?;
            if row.provider != stores_as.id {
                let message = format!("account {id} is one of {}, not of {}", row.provider, stores_as.id);
                return Err(AdminError::new(ErrorCode::Usage, message).hint(format!("claviger login {} --account {id}", row.provider)));
            }
            proxy = row.options.proxy;
        }
        let known = login_params(&profile);
        if let Some(name) = params.keys().find(|name| !known.iter().any(|param| param.name == name.as_str())) {
            let names: Vec<&str> = known.iter().map(|param| param.name).collect();
            let message = format!("a login to {} takes no {name:?}", profile.id);
            let hint = if names.is_empty() { "it takes nothing of the kind".to_owned() } else { format!("it takes {}", names.join(", ")) };
            return Err(AdminError::new(ErrorCode::Usage, message).hint(hint));
        }
        let way = choose(&rule, way, port.is_some()).cloned().ok_or_else(|| no_way(&profile, &rule, way))?;
        let mut http = ControlClient::new(self, &profile).through(proxy.as_ref());
        if matches!(way, LoginWay::Key(_)) {
            http = http.reaching(&profile.origins.inference);
        }
        let facts = LoginFacts {
            id: Logins::new_id(),
            profile,
            stores_as,
            account,
            label: label.map(checked_label).transpose()?.filter(|label| !label.is_empty()),
            params,
            actor: if actor.is_empty() { "unknown".to_owned() } else { actor },
            http,
        };
        Ok(Chosen { facts: Arc::new(facts), way, port })
    }

    /// The first step.
    pub(crate) async fn login_first(&self, chosen: Chosen) -> Result<Next, AdminError> {
        let Chosen { facts, way, port } = chosen;
        match way {
            LoginWay::Loopback(flow) | LoginWay::Paste(flow) => super::code::begin(&facts, flow, port, self.clock.now()),
            LoginWay::Device(flow) => super::device::begin(&facts, flow, self).await,
            LoginWay::Vendor(flow) => {
                let login = vendor_login(&flow.hook, &facts.profile, random_bytes());
                let login = login.ok_or_else(|| {
                    let message = format!("the way {:?} to log in to {} is not known here", flow.hook, facts.profile.id);
                    AdminError::new(ErrorCode::Failed, message).hint("claviger config check")
                })?;
                super::device::vendor_begin(self, &facts, login).await
            }
            LoginWay::Key(entry) => {
                let step = LoginStep::EnterKey { login: facts.id.clone(), page: entry.page.clone() };
                Ok(Next::Goes(Stage::Key(Box::new(entry)), step))
            }
        }
    }
}

fn stored_as(catalogue: &Catalogue, rule: &LoginRule, profile: &Arc<ProviderProfile>) -> Result<Arc<ProviderProfile>, AdminError> {
    let Some(id) = &rule.stores_as else { return Ok(Arc::clone(profile)) };
    catalogue.get(id.as_str()).cloned().ok_or_else(|| {
        let message = format!("logins to {} are stored for {id}, which is no provider", profile.id);
        AdminError::new(ErrorCode::Failed, message).hint("claviger config check")
    })
}

/// The way that is meant. Without a word for it: the first one that can be gone, and a key only where there is nothing else.
fn choose(rule: &LoginRule, word: LoginWayWord, listens: bool) -> Option<&LoginWay> {
    let find = |wanted: fn(&LoginWay) -> bool| rule.ways.iter().find(|way| wanted(way));
    match word {
        LoginWayWord::Auto => rule
            .ways
            .iter()
            .find(|way| match way {
                LoginWay::Loopback(_) => listens,
                LoginWay::Device(_) | LoginWay::Vendor(_) | LoginWay::Paste(_) => true,
                LoginWay::Key(_) => false,
            })
            .or_else(|| find(|way| matches!(way, LoginWay::Loopback(_))))
            .or_else(|| find(|way| matches!(way, LoginWay::Key(_)))),
        LoginWayWord::Loopback => find(|way| matches!(way, LoginWay::Loopback(_))),
        LoginWayWord::Device => find(|way| matches!(way, LoginWay::Device(_))),
        LoginWayWord::Paste => find(|way| matches!(way, LoginWay::Paste(_))),
        LoginWayWord::Vendor => find(|way| matches!(way, LoginWay::Vendor(_))),
        LoginWayWord::Key => find(|way| matches!(way, LoginWay::Key(_))),
    }
}

fn no_way(profile: &ProviderProfile, rule: &LoginRule, word: LoginWayWord) -> AdminError {
    let id = &profile.id;
    let (message, hint) = match (word, rule.ways.is_empty()) {
        (LoginWayWord::Auto, _) | (_, true) => {
            (format!("no way to log in to {id} is known"), format!("claviger account add {id} --from-json FILE"))
        }
        (LoginWayWord::Key, false) => (format!("{id} takes logins, and no keys"), format!("claviger login {id}")),
        (word, false) => (format!("{id} has no login by {}", word.as_str()), format!("claviger login {id}")),
    };
    AdminError::new(ErrorCode::Refused, message).hint(rule.advice.clone().unwrap_or(hint))
}
