//! The configuration file: its schema, its errors with line and column, and where each effective value comes from.

mod events;
mod file;
mod machine;

pub use events::EventSettings;
pub use machine::MachineLogin;

use crate::error::CliError;
use claviger_contract::Pattern;
use claviger_domain::id::ProviderId;
use claviger_domain::origin::Origin as OutboundOrigin;
use claviger_domain::value_ref::ValueRef;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the gateway listens unless told otherwise.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4100);

/// Most bytes of the configuration file: a hundred times what a large one has, and small enough to be read at once.
pub const CONFIG_MAX_BYTES: u64 = 1024 * 1024;

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the value, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
    },
    /// A variable of the environment.
    Environment(&'static str),
    /// The command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[gateway] listen`. Default [`LISTEN_DEFAULT`]. Takes effect at the next start.
    pub listen: Setting<SocketAddr>,
    /// `[gateway] connections_max`. Default: the gateway's. Takes effect at the next start.
    pub connections_max: Setting<usize>,
    /// `[gateway] body_max_bytes`. Default: the gateway's. Takes effect at the next start.
    pub body_max_bytes: Setting<u64>,
    /// `[gateway] answer_head_timeout_s`. Default: the gateway's. Takes effect at the next start.
    pub answer_head_timeout: Setting<Duration>,
    /// `[gateway] grace_s`: how long open requests may go on after a stop. Default: the gateway's. Takes effect at the next start.
    pub grace: Setting<Duration>,
    /// `[routes]`: model patterns and their provider, in the order of the file. Default none.
    pub routes: Vec<Setting<(String, ProviderId)>>,
    /// `[providers.X] api_key`: keys that come before any account of the vault, by reference or in clear. Default none.
    pub api_keys: Vec<Setting<(String, ValueRef)>>,
    /// `[providers.X] machine_login`: logins of this machine that are used. Default none.
    pub machine_logins: Vec<Setting<(String, MachineLogin)>>,
    /// `[environment] keys`: whether keys in the environment of the server are used where there is no account. Default yes.
    pub environment_keys: Setting<bool>,
    /// `[tls] ca_file`: certificates that are trusted beside the system's. Default none. Takes effect at the next start.
    pub ca_file: Setting<Option<PathBuf>>,
    /// `[egress] allow_private`: https origins whose names may resolve to private addresses. Default none.
    pub allow_private: Setting<Vec<OutboundOrigin>>,
    /// `[export] allow`: whether `token` answers without asking on a terminal. Default no.
    pub export_allow: Setting<bool>,
    /// `[events]`: what is told to the outside of what happens. Default nothing.
    pub events: EventSettings,
    /// `[log] level`. Default `info`. Takes effect at the next start.
    pub log_level: Setting<String>,
}

impl Config {
    /// The program's own values.
    pub fn defaults() -> Self {
        let limits = claviger_gateway::Limits::default();
        Self {
            listen: Setting::default(LISTEN_DEFAULT),
            connections_max: Setting::default(limits.connections_max),
            body_max_bytes: Setting::default(limits.body_max_bytes),
            answer_head_timeout: Setting::default(limits.answer_head_timeout),
            grace: Setting::default(limits.grace),
            routes: Vec::new(),
            api_keys: Vec::new(),
            machine_logins: Vec::new(),
            environment_keys: Setting::default(true),
            ca_file: Setting::default(None),
            allow_private: Setting::default(Vec::new()),
            export_allow: Setting::default(false),
            events: EventSettings::defaults(),
            log_level: Setting::default("info".to_owned()),
        }
    }

    /// Reads the file; where there is none, the defaults hold. Every problem of the file is found, not the first alone.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let unreadable = |why: String| vec![Problem { path: path.to_path_buf(), place: None, message: why }];
        let failed = |error: std::io::Error| unreadable(format!("cannot be read: {error}"));
        match std::fs::metadata(path) {
            // A pipe would be waited for, by a running server too.
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(unreadable("cannot be read: it is no regular file".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::defaults()),
            Err(error) => return Err(failed(error)),
        }
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(CONFIG_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > CONFIG_MAX_BYTES {
            return Err(unreadable(format!("is larger than {CONFIG_MAX_BYTES} bytes")));
        }
        file::parse(path, &text)
    }

    /// Reads the file, and gives all problems as one error for people.
    pub fn load(path: &Path) -> Result<Self, CliError> {
        Self::read(path).map_err(|problems| problems_as_error(&problems))
    }

    /// Lays environment and flag over the file.
    #[must_use]
    pub fn overlaid(mut self, environment: Option<SocketAddr>, flag: Option<SocketAddr>) -> Self {
        if let Some(value) = environment {
            self.listen = Setting { value, origin: Origin::Environment("CLAVIGER_LISTEN") };
        }
        if let Some(value) = flag {
            self.listen = Setting { value, origin: Origin::Flag("--listen") };
        }
        self
    }

    /// The limits of the gateway.
    pub fn limits(&self) -> claviger_gateway::Limits {
        claviger_gateway::Limits {
            connections_max: self.connections_max.value,
            body_max_bytes: self.body_max_bytes.value,
            answer_head_timeout: self.answer_head_timeout.value,
            grace: self.grace.value,
            ..claviger_gateway::Limits::default()
        }
    }

    /// The origins that may be private, as egress takes them.
    pub fn private_origins(&self) -> BTreeSet<OutboundOrigin> {
        self.allow_private.value.iter().cloned().collect()
    }

    /// The model patterns, as the pool takes them.
    pub fn models(&self) -> Vec<(Pattern, ProviderId)> {
        self.routes.iter().map(|route| (Pattern::new(&route.value.0), route.value.1.clone())).collect()
    }

    /// Every setting by key, for people and programs.
    pub fn settings(&self) -> Vec<SettingView> {
        let Self { listen, connections_max, body_max_bytes, answer_head_timeout, grace, routes, .. } = self;
        let Self { ca_file, allow_private, export_allow, log_level, events, api_keys, machine_logins, environment_keys, .. } = self;
        let private: Vec<String> = allow_private.value.iter().map(ToString::to_string).collect();
        let mut all = vec![
            SettingView::new("gateway.listen", listen.value.to_string(), &listen.origin),
            SettingView::new("gateway.connections_max", connections_max.value, &connections_max.origin),
            SettingView::new("gateway.body_max_bytes", body_max_bytes.value, &body_max_bytes.origin),
            SettingView::new("gateway.answer_head_timeout_s", answer_head_timeout.value.as_secs(), &answer_head_timeout.origin),
            SettingView::new("gateway.grace_s", grace.value.as_secs(), &grace.origin),
        ];
        all.extend(routes.iter().map(|Setting { value: (pattern, provider), origin }| {
            let key = format!("routes.{}", serde_json::Value::from(pattern.as_str()));
            SettingView::new(&key, provider.as_str(), origin)
        }));
        all.extend(machine_logins.iter().map(|Setting { value: (provider, login), origin }| {
            SettingView::new(&format!("providers.{provider}.machine_login"), login.0.as_str(), origin)
        }));
        all.extend(api_keys.iter().map(|Setting { value: (provider, value), origin }| {
            SettingView::new(&format!("providers.{provider}.api_key"), value.to_string(), origin)
        }));
        all.extend([
            SettingView::new("environment.keys", environment_keys.value, &environment_keys.origin),
            SettingView::new("tls.ca_file", ca_file.value.as_ref().map(|path| path.display().to_string()), &ca_file.origin),
            SettingView::new("egress.allow_private", private, &allow_private.origin),
            SettingView::new("export.allow", export_allow.value, &export_allow.origin),
            SettingView::new("events.command", events.command.value.clone(), &events.command.origin),
            SettingView::new("events.webhook", events.webhook_shown(), &events.webhook.origin),
            SettingView::new(
                "events.webhook_secret",
                events.webhook_secret.value.as_ref().map(ToString::to_string),
                &events.webhook_secret.origin,
            ),
            SettingView::new("events.kinds", events.kinds.value.clone(), &events.kinds.origin),
            SettingView::new("log.level", log_level.value.as_str(), &log_level.origin),
        ]);
        all
    }
}

/// One setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingView {
    /// Its key, for instance `gateway.listen`.
    pub key: String,
    /// Its value; `null` where none is set.
    pub value: serde_json::Value,
    /// Where it comes from: `default`, `FILE:LINE`, `environment NAME` or `flag NAME`.
    pub origin: String,
}

impl SettingView {
    fn new(key: &str, value: impl Into<serde_json::Value>, origin: &Origin) -> Self {
        Self { key: key.to_owned(), value: value.into(), origin: origin.to_string() }
    }

    /// As a line of a configuration file with a dotted key; a value that is not set shows as `(none)`.
    pub fn line(&self) -> String {
        match &self.value {
            serde_json::Value::Null => format!("{} = (none)", self.key),
            value => format!("{} = {value}", self.key),
        }
    }
}

/// What is wrong with a file of the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.path.display(), self.message),
            None => write!(f, "{}: {}", self.path.display(), self.message),
        }
    }
}

/// All problems as one usage error.
pub fn problems_as_error(problems: &[Problem]) -> CliError {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    CliError::usage(lines.join("\n")).hint("claviger config check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_the_configuration_has_every_key_with_its_default() {
        let document = include_str!("../../../docs/configuration.md");
        for setting in Config::defaults().settings() {
            let default = match &setting.value {
                serde_json::Value::Null => "none".to_owned(),
                serde_json::Value::Array(list) if list.is_empty() => "none".to_owned(),
                value => value.to_string(),
            };
            let row = format!("| `{}` | {default} |", setting.key);
            let found = document.lines().any(|line| line.replace("`\"", "\"").replace("\"`", "\"").starts_with(&row));
            assert!(found, "docs/configuration.md has no row that begins with {row}");
        }
    }
}
