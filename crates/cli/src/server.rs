//! The serving process: listens, answers agents and the control plane, follows the configuration, and ends in order.

use crate::admin_socket::{AdminServer, SealedView, ServerControl, ServerFacts, SocketLock};
use crate::context::Context;
use crate::env::{Env, Paths};
use crate::error::CliError;
use crate::event_hook::{Delivery, Receiver};
use crate::hardening;
use crate::port;
use crate::root_key::{Asking, KeySources};
use crate::sealed::{self, Door};
use crate::wire_up::{self, LoadedSettings, Overrides, Surroundings};
use claviger_admin::{Admin, AdminError, Reloaded};
use claviger_gateway::{Gateway, GatewayConfig};
use claviger_pool::limits::FLIGHT_END_WITHIN;
#[cfg(feature = "demo")]
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{BoxFuture, Supervisor, best_effort};
use std::any::Any;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify};

/// How often the files of the configuration are looked at.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_secs(2);

/// How much longer than the gateway's own grace its connections may take to end.
const GRACE_SLACK: Duration = Duration::from_secs(1);

/// What differs between the ways to start a server.
#[derive(Debug, Default)]
pub struct ServerOptions {
    /// What the command line says over the configuration.
    pub over: Overrides,
    /// A listener that is there already, for a demo.
    pub listener: Option<TcpListener>,
    /// The file that stderr goes to, for a server in the background.
    pub log: Option<PathBuf>,
    /// Where the simulated provider listens, in a demo.
    pub simulator: Option<String>,
}

/// A server that has everything it needs and serves nobody yet.
#[derive(Debug)]
pub struct Server {
    sources: KeySources,
    surroundings: Surroundings,
    control: Arc<Control>,
    gateway_listener: TcpListener,
    admin_listener: UnixListener,
    lock: SocketLock,
    kept: Option<Box<dyn Any + Send>>,
}

impl Server {
    /// Takes socket and port and opens the vault, or leaves it sealed where its keyring may open later. Nothing of it is left
    /// behind by an error.
    pub async fn prepare(context: &Context, options: ServerOptions) -> Result<Self, CliError> {
        let settings = wire_up::load_settings(&context.paths, &context.env, &options.over)?;
        let Some(lock) = SocketLock::take(&context.paths.socket)? else {
            return Err(CliError::refused(format!("a server runs already on {}", context.paths.socket.display())).hint("claviger status"));
        };
        let gateway_listener = match options.listener {
            Some(listener) => listener,
            None => port::listen(settings.config.listen.value).await?,
        };
        let address = gateway_listener.local_addr().map_err(|error| CliError::failed(format!("the port is gone: {error}")))?;
        let asking = if context.is_interactive() { Asking::Person } else { Asking::Nobody };
        let sources = KeySources::of(context, asking);
        let surroundings = Surroundings::new(Arc::clone(&context.clock), &settings.config);
        let door = sealed::first_try(&sources, &settings, &surroundings).await?;
        let admin_listener = lock.listen()?;
        let facts = ServerFacts {
            pid: std::process::id(),
            listen: address.to_string(),
            home: context.paths.home.display().to_string(),
            log: options.log.map(|log| log.display().to_string()),
            simulator: options.simulator,
        };
        let control = Arc::new(Control {
            facts,
            door,
            surroundings: surroundings.clone(),
            paths: context.paths.clone(),
            env: context.env.clone(),
            over: options.over,
            known: Arc::new(Mutex::new(Known { seen: fingerprint(&context.paths), loaded: settings })),
            stop: Notify::new(),
        });
        Ok(Self { sources, surroundings, control, gateway_listener, admin_listener, lock, kept: None })
    }

    /// The control plane of this process; [`claviger_admin::ErrorCode::Sealed`] while the vault is not open.
    pub fn admin(&self) -> Result<&dyn Admin, AdminError> {
        self.control.admin()
    }

    /// Why the vault is not open, where it is not.
    pub fn sealed(&self) -> Option<SealedView> {
        self.control.sealed()
    }

    /// The providers.
    #[cfg(feature = "demo")]
    pub async fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.control.known.lock().await.loaded.pool.catalogue)
    }

    /// The process.
    pub fn facts(&self) -> &ServerFacts {
        &self.control.facts
    }

    /// Takes over what lives as long as the server: dropped after the vault is closed and before `down` sees the end.
    #[cfg(feature = "demo")]
    pub fn keep(&mut self, thing: impl Any + Send) {
        self.kept = Some(Box::new(thing));
    }

    /// Serves until a signal or `down`, then ends in order: no new requests, open ones within their grace, everything on
    /// disk, the vault closed, the socket gone. `ready` is called once requests are answered.
    pub async fn run(self, ready: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
        let Self { sources, surroundings, control, gateway_listener, admin_listener, lock, kept } = self;
        let mut signals = Signals::new()?;
        let supervisor = Arc::clone(&surroundings.supervisor);
        let mut limits = control.known.lock().await.loaded.config.limits();
        let affordable = hardening::connections_affordable();
        if affordable < limits.connections_max {
            tracing::warn!(wanted = limits.connections_max, affordable, "fewer connections, since few files may be open");
            limits.connections_max = affordable;
        }
        let config = GatewayConfig { limits, ..GatewayConfig::default() };
        let gateway = Arc::new(Gateway::new(control.door.clone(), surroundings.egress.clone(), Arc::clone(&surroundings.clock), config));
        let agents = Arc::new(Supervisor::new());
        let of_agents = Arc::clone(&agents);
        agents.spawn("gateway", async move { gateway.serve(gateway_listener, &of_agents).await });
        let admin = AdminServer { control: Arc::clone(&control) as Arc<dyn ServerControl>, clock: Arc::clone(&surroundings.clock) };
        supervisor.spawn("admin", admin.serve(admin_listener, Arc::clone(&supervisor)));
        for (name, receiver) in [("event command", Receiver::Command), ("event webhook", Receiver::Webhook)] {
            supervisor.spawn(name, control.delivery().run(receiver));
        }
        supervisor.spawn("configuration", follow_files(Arc::clone(&control), supervisor.stopped()));
        if let Some(opened) = control.door.opened() {
            opened.pool.serve_background();
        } else {
            let known = Arc::clone(&control.known);
            supervisor.spawn("unsealing", sealed::keep_trying(control.door.clone(), sources, known, surroundings));
        }
        let begun = ready();
        if begun.is_ok() {
            signals.wait(&control).await;
        }
        tracing::info!("stopping");
        let ended = tokio::select! {
            () = end(&agents, limits.grace + GRACE_SLACK, &supervisor, &control.door) => begun,
            () = signals.again() => Err(CliError::failed("stopped at once, before open requests had ended")),
        };
        best_effort("removing the admin socket", lock.remove_socket());
        drop(kept);
        drop(lock);
        ended
    }
}

async fn end(agents: &Supervisor, patience: Duration, supervisor: &Supervisor, door: &Door) {
    agents.stop(patience).await;
    if door.opened().is_none() {
        // The vault may be opening at this moment; after this it is open or will never be.
        supervisor.stop(FLIGHT_END_WITHIN).await;
    }
    if let Some(opened) = door.opened() {
        opened.close().await;
    }
}

/// The signals that a server listens to.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Whether the server was started on a terminal, whose end is its end.
    with_terminal: bool,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|error| CliError::failed(format!("signals cannot be listened to: {error}")));
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let with_terminal = std::io::stdin().is_terminal();
        Ok(Self { interrupt, terminate, hang_up: listen(SignalKind::hangup())?, with_terminal })
    }

    /// Resolves when the server is to stop. A hang-up reads the configuration again, unless it means that the terminal is gone.
    async fn wait(&mut self, control: &Control) {
        loop {
            tokio::select! {
                () = control.stop.notified() => return,
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => {
                    if self.with_terminal {
                        return;
                    }
                    control.reload_and_log().await;
                }
            }
        }
    }

    /// Resolves at the next signal to stop.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What the control plane can ask of this process.
#[derive(Debug)]
struct Control {
    facts: ServerFacts,
    door: Door,
    surroundings: Surroundings,
    paths: Paths,
    env: Env,
    over: Overrides,
    /// Held over a reading, and while a sealed vault opens, so that two never cross.
    known: Arc<Mutex<Known>>,
    stop: Notify,
}

/// What is known of the configuration.
#[derive(Debug)]
pub struct Known {
    /// The files as they were when they were last read, good or bad.
    seen: Vec<Seen>,
    /// What they said when they were last good.
    pub loaded: LoadedSettings,
}

impl Control {
    /// What tells events to the outside.
    fn delivery(&self) -> Delivery {
        let (door, known, env) = (self.door.clone(), Arc::clone(&self.known), self.env.clone());
        Delivery { door, known, surroundings: self.surroundings.clone(), env }
    }

    /// Reads everything anew and swaps it in as a whole; a bad file changes nothing.
    async fn reload_now(&self) -> Result<Reloaded, CliError> {
        let mut known = self.known.lock().await;
        known.seen = fingerprint(&self.paths);
        let loaded = wire_up::load_settings(&self.paths, &self.env, &self.over)?;
        match self.door.opened() {
            Some(opened) => opened.pool.reconfigure(loaded.pool.clone()).await?,
            None => self.door.reroute(loaded.pool.routes()),
        }
        self.surroundings.egress.set_allow_private(loaded.config.private_origins());
        let summary = loaded.summary();
        known.loaded = loaded;
        Ok(summary)
    }

    async fn reload_and_log(&self) {
        match self.reload_now().await {
            Ok(reloaded) => tracing::info!(files = reloaded.files.len(), providers = reloaded.providers, "configuration reloaded"),
            Err(error) => tracing::error!(%error, "the configuration is not usable; the old one stays"),
        }
    }

    async fn is_changed(&self) -> bool {
        self.known.lock().await.seen != fingerprint(&self.paths)
    }
}

impl ServerControl for Control {
    fn admin(&self) -> Result<&dyn Admin, AdminError> {
        self.door.admin()
    }

    fn sealed(&self) -> Option<SealedView> {
        self.door.sealed()
    }

    fn facts(&self) -> ServerFacts {
        self.facts.clone()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, AdminError>> {
        Box::pin(async { self.reload_now().await.map_err(|error| error.0) })
    }

    fn shutdown(&self) {
        self.stop.notify_one();
    }
}

/// Reloads when a file of the configuration has changed.
async fn follow_files(control: Arc<Control>, stopped: impl Future<Output = ()>) {
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            () = control.surroundings.clock.sleep(LOOK_AT_FILES_EVERY) => {}
            () = &mut stopped => return,
        }
        if control.is_changed().await {
            control.reload_and_log().await;
        }
    }
}

/// What tells a changed file from an unchanged one without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    modified_at: Option<SystemTime>,
    size_bytes: u64,
}

fn fingerprint(paths: &Paths) -> Vec<Seen> {
    let seen = wire_up::files(paths).into_iter().map(|path| {
        let metadata = std::fs::metadata(&path).ok();
        let modified_at = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        Seen { path, modified_at, size_bytes: metadata.map_or(0, |metadata| metadata.len()) }
    });
    seen.collect()
}
