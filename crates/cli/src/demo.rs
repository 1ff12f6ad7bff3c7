//! `claviger up --demo`: a simulated provider, a throw-away home and ports of its own; nothing of the user's is touched.

use crate::args::{GlobalArgs, UpArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::server::{Server, ServerOptions};
use crate::welcome::Welcome;
use crate::{detach, port, root_key, wire_up};
use claviger_admin::{AccountAdd, CredentialAdd, Exposed, IdentityView};
use claviger_domain::profile::Dialect;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::{Catalogue, EffectiveValue};
use claviger_runtime::{best_effort, random_u64};
use claviger_simulator::demo::{DemoAccount, DemoCredential, DemoDialect, seed};
use claviger_simulator::{Rotation, Simulator, SimulatorConfig, TokenPolicy};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the demo's gateway listens unless told otherwise; the next free port where this one is taken.
const GATEWAY_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4180);

/// Where the simulated provider listens; the next free port where this one is taken.
const SIMULATOR_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4181);

/// How long the simulated provider answers a consumed refresh token with the same successor, in seconds.
const GRACE_S: u64 = 60;

/// A file that marks a home as thrown away: only a folder with it is ever removed.
const MARKER: &str = ".claviger-demo";

/// A folder that is removed with everything in it when this is dropped.
#[derive(Debug)]
struct ThrowAwayHome {
    path: PathBuf,
}

impl ThrowAwayHome {
    /// A new folder, 0700, under a name that nobody can foresee.
    fn create(below: &Path) -> Result<Self, CliError> {
        let path = below.join(format!("claviger-demo-{:016x}", random_u64()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| CliError::io("creating the folder", &path, &error))?;
        let home = Self { path };
        let marker = home.path.join(MARKER);
        std::fs::write(&marker, "").map_err(|error| CliError::io("writing", &marker, &error))?;
        Ok(home)
    }

    /// Whether a folder is one that another process of this demo has created.
    fn check(path: &Path) -> Result<&Path, CliError> {
        if path.join(MARKER).is_file() {
            return Ok(path);
        }
        Err(CliError::usage(format!("{} is no home of a demo", path.display())).hint("claviger up --demo"))
    }

    /// Leaves the folder to another process.
    fn leave(mut self) {
        self.path = PathBuf::new();
    }
}

/// What a command in a demo's home is given: nothing of the user's environment.
fn context_in(home: &Path, outer: &Context) -> Result<Context, CliError> {
    let config = home.join("config").join("config.toml");
    let global = GlobalArgs { home: Some(home.to_path_buf()), config: Some(config), ..outer.global.clone() };
    Context::new(outer.env.isolated(), global)
}

impl Drop for ThrowAwayHome {
    fn drop(&mut self) {
        if self.path.join(MARKER).is_file() {
            best_effort("removing the demo's home", std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Runs the demo: here, or in the background.
pub async fn run(outer: &Context, args: UpArgs) -> Result<(), CliError> {
    if args.detached {
        detach::leave_session()?;
        let home = ThrowAwayHome::check(&outer.paths.home)?;
        let context = context_in(home, outer)?;
        // A start that fails leaves the home to the process that waits for it and wants to read the log.
        let (mut server, simulator) = prepare(&context, &args, Some(context.paths.log_file.clone())).await?;
        server.keep((simulator, ThrowAwayHome { path: home.to_path_buf() }));
        let listen = server.facts().listen.clone();
        let ready = || {
            tracing::info!(%listen, "serving a demo");
            Ok(())
        };
        return server.run(ready).await;
    }
    let home = ThrowAwayHome::create(&outer.env.temporary)?;
    let context = context_in(&home.path, outer)?;
    if args.detach {
        let mut arguments = vec!["up".to_owned(), "--demo".to_owned(), "--detached".to_owned()];
        arguments.extend(args.listen.map(|listen| format!("--listen={listen}")));
        let client = detach::start(&context, &arguments).await?;
        home.leave();
        let facts = client.server_status().await?.server;
        let loaded = wire_up::load_settings(&context.paths, &context.env, &wire_up::Overrides::default())?;
        let welcome = Welcome::gather(&client, facts, &loaded.pool.catalogue, Vec::new()).await?;
        return Tour::new(welcome, &context).print(&context);
    }
    let (mut server, simulator) = prepare(&context, &args, None).await?;
    server.keep((simulator, home));
    let welcome = Welcome::gather(server.admin()?, server.facts().clone(), &*server.catalogue().await, Vec::new()).await?;
    let tour = Tour::new(welcome, &context);
    server.run(|| tour.print(&context)).await
}

/// Simulator, overlay, vault and accounts, in this order, since an account is bound to the origins that it is stored with.
async fn prepare(context: &Context, args: &UpArgs, log: Option<PathBuf>) -> Result<(Server, Simulator), CliError> {
    let listener = match args.listen {
        Some(address) => port::listen(address).await?,
        None => port::listen_from(GATEWAY_DEFAULT).await?,
    };
    let simulator = start_simulator(args.listen).await?;
    write_overlay(context, &simulator.origin())?;
    let (root, _) = root_key::key_file(&context.paths.master_key)?;
    wire_up::create(context, root).await?;
    let accounts = seed(&simulator.control());
    let options = ServerOptions { listener: Some(listener), log, simulator: Some(simulator.origin()), ..ServerOptions::default() };
    let server = Server::prepare(context, options).await?;
    let catalogue = server.catalogue().await;
    let drafts = accounts.into_iter().map(|account| draft(account, &catalogue)).collect::<Result<Vec<_>, _>>()?;
    let report = server.admin()?.account_import(drafts).await?;
    match report.skipped.first() {
        Some(skipped) => Err(CliError::failed(format!("the demo's account {} cannot be stored: {}", skipped.row, skipped.why))),
        None => Ok((server, simulator)),
    }
}

/// On its own port, or on any free one where the gateway was given an address of its own.
async fn start_simulator(gateway: Option<SocketAddr>) -> Result<Simulator, CliError> {
    let config = |listen| SimulatorConfig {
        listen: Some(listen),
        token: TokenPolicy { rotation: Rotation::Grace { grace_s: GRACE_S }, ..TokenPolicy::default() },
        ..SimulatorConfig::default()
    };
    let wanted = if gateway.is_some() { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) } else { SIMULATOR_DEFAULT };
    // The port is found by a listener that is dropped again: it was free a moment ago.
    let free = port::listen_from(wanted).await?.local_addr().map_err(|error| CliError::failed(format!("the port is gone: {error}")))?;
    Simulator::start(config(free)).await.map_err(|error| CliError::failed(format!("the simulator cannot listen on {free}: {error}")))
}

/// The provider that serves a demo account's dialect.
fn provider(dialect: DemoDialect, catalogue: &Catalogue) -> Result<String, CliError> {
    let dialect = match dialect {
        DemoDialect::Messages => Dialect::Messages,
        DemoDialect::Chat => Dialect::Chat,
    };
    let id = catalogue.default_for(dialect).map(ToString::to_string);
    id.ok_or_else(|| CliError::failed(format!("no provider serves the dialect {}", dialect.as_str())))
}

fn draft(account: DemoAccount, catalogue: &Catalogue) -> Result<AccountAdd, CliError> {
    let DemoAccount { account, speaks, credential } = account;
    let credential = match credential {
        DemoCredential::OAuth(grant) => CredentialAdd::Oauth {
            access: Exposed::new(grant.access),
            refresh: Some(Exposed::new(grant.refresh)),
            expires_at: Some(Timestamp(grant.expires_at_ms)),
        },
        DemoCredential::ApiKey(key) => CredentialAdd::ApiKey { key: Exposed::new(key) },
    };
    Ok(AccountAdd {
        identity: IdentityView { email: Some(account.clone()), ..IdentityView::default() },
        ..AccountAdd::new(account, provider(speaks, catalogue)?, credential)
    })
}

/// Points every address of the demo's providers at the simulator.
fn write_overlay(context: &Context, simulator: &str) -> Result<(), CliError> {
    let catalogue = Catalogue::builtin();
    let mut text = String::new();
    let providers: BTreeSet<String> =
        [DemoDialect::Messages, DemoDialect::Chat].into_iter().map(|dialect| provider(dialect, catalogue)).collect::<Result<_, _>>()?;
    for id in providers {
        let mut refreshes = false;
        for value in catalogue.effective_values(&id) {
            if let Some(url) = moved(value, simulator) {
                refreshes |= value.key.ends_with(".token_url");
                writeln!(text, "{} = {}", value.key, serde_json::Value::from(url)).expect("writing to a String never fails");
            }
        }
        if refreshes {
            writeln!(text, "providers.{id}.refresh.profile = \"grace\"\nproviders.{id}.refresh.grace_s = {GRACE_S}")
                .expect("writing to a String never fails");
        }
    }
    let folder = &context.paths.providers_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| CliError::io("creating the folder", folder, &error))?;
    let file = folder.join("demo.toml");
    std::fs::write(&file, text).map_err(|error| CliError::io("writing", &file, &error))
}

/// The same address at the simulator, if the value is an address.
fn moved(value: &EffectiveValue, simulator: &str) -> Option<String> {
    let address = value.value.strip_prefix("\"https://")?.strip_suffix('"')?;
    let path = address.split_once('/').map_or("", |(_, path)| path);
    Some(format!("{simulator}/{path}").trim_end_matches('/').to_owned())
}

/// What the demo says: as any new server, and what can be tried.
#[derive(Debug, Serialize)]
struct Tour {
    #[serde(flatten)]
    welcome: Welcome,
    /// The home, for `CLAVIGER_HOME`.
    home: PathBuf,
    /// The configuration, for `CLAVIGER_CONFIG`.
    config: PathBuf,
}

impl Tour {
    fn new(welcome: Welcome, context: &Context) -> Self {
        Self { welcome, home: context.paths.home.clone(), config: context.paths.config_file.clone() }
    }

    fn print(&self, context: &Context) -> Result<(), CliError> {
        context.output.data(self, || self.text())
    }

    fn text(&self) -> String {
        let Welcome { url, key, server, .. } = &self.welcome;
        let key = key.as_ref().map_or("$CLAVIGER_KEY", |key| key.key.expose());
        let simulator = server.simulator.as_deref().unwrap_or_default();
        let mut text = self.welcome.text();
        let tour = [
            String::new(),
            "# a demo: everything is simulated, and gone when it ends; for other commands in this home:".to_owned(),
            format!("export CLAVIGER_HOME={} CLAVIGER_CONFIG={}", self.home.display(), self.config.display()),
            format!("export CLAVIGER_KEY={key}"),
            String::new(),
            "# a streamed answer; it names the account that served it".to_owned(),
            format!(
                "curl -sN {url}/v1/messages -H \"x-api-key: $CLAVIGER_KEY\" -H 'content-type: application/json' \\\n  -d '{{\"model\":\"demo\",\"max_tokens\":64,\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"
            ),
            String::new(),
            "# the other dialect".to_owned(),
            format!(
                "curl -s {url}/v1/chat/completions -H \"authorization: Bearer $CLAVIGER_KEY\" -H 'content-type: application/json' \\\n  -d '{{\"model\":\"demo\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"
            ),
            String::new(),
            "# let a token expire, or a quota run out, and ask again".to_owned(),
            format!("curl -s {simulator}/__simulator/expire -d '{{\"account\":\"ada@example.com\"}}'"),
            format!("curl -s {simulator}/__simulator/quota -d '{{\"account\":\"ada@example.com\"}}'"),
            format!("curl -s {simulator}/__simulator/ledger"),
        ];
        for line in tour {
            writeln!(text, "{line}").expect("writing to a String never fails");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_folder_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ThrowAwayHome::check(folder.path()).is_err());
        let home = ThrowAwayHome::create(folder.path()).unwrap();
        let path = home.path.clone();
        drop(ThrowAwayHome { path: folder.path().to_path_buf() });
        assert!(folder.path().is_dir());
        drop(home);
        assert!(!path.exists());
    }
}
