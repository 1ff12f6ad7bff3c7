//! The vault of a server as agents and the control plane meet it: sealed at first where it must be, and then open for good.

use crate::admin_socket::SealedView;
use crate::error::CliError;
use crate::root_key::{KeySources, NoKey};
use crate::server::Known;
use crate::wire_up::{self, LoadedSettings, Opened, Surroundings};
use claviger_admin::{Admin, AdminError};
use claviger_contract::{Admission, Answer, Ask, Attempt, Broker, Readiness, Record, Refusal, Routes};
use claviger_domain::classify::Class;
use claviger_domain::virtual_key::Presented;
use claviger_pool::Pool;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How often a sealed server asks again. A person who has just unlocked the keyring waits no longer than this, and the question
/// costs nothing.
pub const ASK_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// A vault behind a door that opens once. Cheap to clone. Open, it costs each call of a request one load of a pointer.
#[derive(Debug, Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    opened: OnceLock<Opened>,
    /// What is said while it is shut; absent for a door that was open from the start. Held for a copy, never over an await.
    shut: Option<Mutex<Shut>>,
}

#[derive(Debug, Clone)]
struct Shut {
    sealed: SealedView,
    /// Where requests would go, so that each is refused in its own dialect.
    routes: Arc<Routes>,
}

impl Door {
    /// An open one.
    pub fn open(opened: Opened) -> Self {
        Self { inner: Arc::new(Inner { opened: OnceLock::from(opened), shut: None }) }
    }

    /// A shut one.
    pub fn shut(sealed: SealedView, routes: Routes) -> Self {
        let shut = Shut { sealed, routes: Arc::new(routes) };
        Self { inner: Arc::new(Inner { opened: OnceLock::new(), shut: Some(Mutex::new(shut)) }) }
    }

    /// The vault, once it is open.
    pub fn opened(&self) -> Option<&Opened> {
        self.inner.opened.get()
    }

    /// Why it is shut, while it is.
    pub fn sealed(&self) -> Option<SealedView> {
        self.opened().is_none().then(|| self.shut_now().sealed.clone())
    }

    /// The control plane; [`claviger_admin::ErrorCode::Sealed`] while it is shut.
    pub fn admin(&self) -> Result<&dyn Admin, AdminError> {
        match self.opened() {
            Some(opened) => Ok(&opened.pool),
            None => Err(self.shut_now().sealed.error()),
        }
    }

    /// Takes over where requests would go.
    pub fn reroute(&self, routes: Routes) {
        self.shut_now().routes = Arc::new(routes);
    }

    fn unlock(&self, opened: Opened) {
        let first = self.inner.opened.set(opened).is_ok();
        debug_assert!(first, "one task alone opens a door");
    }

    fn shut_now(&self) -> MutexGuard<'_, Shut> {
        let shut = self.inner.shut.as_ref().expect("a door that was never shut is open, and nobody asks why it is not");
        shut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> Refusal {
        let SealedView { why, hint, retry_at } = self.shut_now().sealed.clone();
        Refusal::Sealed { why: format!("{why} (hint: {hint})"), retry_at }
    }
}

impl Broker for Door {
    type Pending = <Pool as Broker>::Pending;

    fn admit(&self, key: &Presented<'_>, peer: Option<IpAddr>) -> Result<Admission, Refusal> {
        match self.opened() {
            Some(opened) => opened.pool.admit(key, peer),
            None => Err(self.refusal()),
        }
    }

    fn lease<'ask>(&self, ask: &'ask Ask<'_>) -> Answer<'ask, Self::Pending> {
        match self.opened() {
            Some(opened) => opened.pool.lease(ask),
            None => Answer::Refused(self.refusal()),
        }
    }

    fn routes(&self) -> Arc<Routes> {
        match self.opened() {
            Some(opened) => opened.pool.routes(),
            None => Arc::clone(&self.shut_now().routes),
        }
    }

    fn readiness(&self) -> Readiness {
        self.opened().map_or(Readiness::Whole, |opened| opened.pool.readiness())
    }

    fn closed(&self) -> Option<Refusal> {
        self.opened().is_none().then(|| self.refusal())
    }

    fn report(&self, attempt: Attempt, class: Class) {
        if let Some(opened) = self.opened() {
            opened.pool.report(attempt, class);
        }
    }

    fn settle(&self, admission: Admission, record: Record) {
        if let Some(opened) = self.opened() {
            opened.pool.settle(admission, record);
        }
    }
}

/// Opens the door of a starting server, or leaves it shut for a reason that may pass. Any other failure is the end of the start.
pub async fn first_try(sources: &KeySources, loaded: &LoadedSettings, surroundings: &Surroundings) -> Result<Door, CliError> {
    let root = match sources.key().await {
        Ok(root) => root,
        Err(NoKey::Keyring(error)) if error.may_pass() => {
            let sealed = view(&error.into(), surroundings);
            tracing::warn!(why = sealed.why, hint = sealed.hint, "the vault is sealed; nobody is served until it opens");
            return Ok(Door::shut(sealed, loaded.pool.routes()));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Door::open(wire_up::open_with(sources.paths(), root, loaded, surroundings.clone()).await?))
}

/// Tries a shut door again and again until it opens or the supervisor stops. `settings` is asked for the configuration of the
/// moment, and held until the door is open, so that no reload falls between.
pub async fn keep_trying(door: Door, sources: KeySources, settings: Arc<tokio::sync::Mutex<Known>>, surroundings: Surroundings) {
    let sources = sources.asking_nobody();
    let mut stopped = std::pin::pin!(surroundings.supervisor.stopped());
    while door.opened().is_none() {
        let key = async {
            surroundings.clock.sleep(ASK_AGAIN_EVERY).await;
            sources.key().await
        };
        let key = tokio::select! {
            key = key => key,
            () = &mut stopped => return,
        };
        // From here on nothing is dropped half-way: a stop waits for a vault that is being opened, and closes it.
        let known = settings.lock().await;
        let opened = match key {
            Ok(root) => wire_up::open_with(sources.paths(), root, &known.loaded, surroundings.clone()).await,
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(opened) => {
                opened.pool.serve_background();
                door.unlock(opened);
                tracing::info!("the vault is open");
            }
            Err(error) => {
                let sealed = view(&error, &surroundings);
                let before = std::mem::replace(&mut door.shut_now().sealed, sealed.clone());
                if before.why != sealed.why {
                    tracing::warn!(why = sealed.why, hint = sealed.hint, "the vault is still sealed");
                }
            }
        }
    }
}

fn view(error: &CliError, surroundings: &Surroundings) -> SealedView {
    let hint = error.0.hint.clone().unwrap_or_else(|| "claviger doctor".to_owned());
    SealedView { why: error.0.message.clone(), hint, retry_at: surroundings.clock.now().plus(ASK_AGAIN_EVERY) }
}

#[cfg(test)]
mod tests;
