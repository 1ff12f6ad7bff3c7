//! The configuration file as it is written: its tables, and the way from text to checked values.

use super::machine::MachineLogin;
use super::{Config, LISTEN_DEFAULT, Origin, Problem, Setting, events};
use claviger_domain::id::ProviderId;
use claviger_domain::value_ref::ValueRef;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// The words for `[log] level`.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Most connections that may be configured: what a process may have open on common systems.
const CONNECTIONS_LIMIT: u64 = 1_000_000;

/// The longest time that may be configured, in seconds: a day is longer than any request.
const SECONDS_LIMIT: u64 = 24 * 60 * 60;

/// Reads the text of a configuration file. Every problem is found, but that broken syntax hides all others.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { path, text, problems: Vec::new() };
    let file = match toml::from_str::<File>(text) {
        Ok(file) => file,
        Err(error) => {
            let place = error.span().map(|span| place_of(text, span.start));
            return Err(vec![Problem { path: path.to_path_buf(), place, message: one_line(error.message()) }]);
        }
    };
    let config = reader.config(file);
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    gateway: GatewayTable,
    routes: BTreeMap<Spanned<String>, Spanned<String>>,
    tls: TlsTable,
    egress: EgressTable,
    export: ExportTable,
    log: LogTable,
    providers: BTreeMap<Spanned<String>, ProviderTable>,
    environment: EnvironmentTable,
    events: EventsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProviderTable {
    api_key: Option<Spanned<String>>,
    machine_login: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnvironmentTable {
    keys: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GatewayTable {
    listen: Option<Spanned<String>>,
    connections_max: Option<Spanned<u64>>,
    body_max_bytes: Option<Spanned<u64>>,
    answer_head_timeout_s: Option<Spanned<u64>>,
    grace_s: Option<Spanned<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsTable {
    ca_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EgressTable {
    allow_private: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExportTable {
    allow: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EventsTable {
    command: Option<Spanned<Vec<String>>>,
    webhook: Option<Spanned<String>>,
    webhook_secret: Option<Spanned<String>>,
    kinds: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogTable {
    level: Option<Spanned<String>>,
}

/// Turns what is written into values and notes every problem.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn config(&mut self, file: File) -> Config {
        let File { gateway, routes, tls, egress, export, log, providers, environment, events: told } = file;
        let mut config = Config::defaults();
        self.take(&mut config.listen, gateway.listen, |text| {
            text.parse().map_err(|_malformed| format!("gateway.listen: {text:?} is not an address such as \"{LISTEN_DEFAULT}\""))
        });
        self.take(&mut config.connections_max, gateway.connections_max, |count| {
            let fits = (1..=CONNECTIONS_LIMIT).contains(&count);
            fits.then(|| usize::try_from(count).ok())
                .flatten()
                .ok_or(format!("gateway.connections_max: 1 to {CONNECTIONS_LIMIT} is expected"))
        });
        self.take(&mut config.body_max_bytes, gateway.body_max_bytes, |size| {
            if size == 0 { Err("gateway.body_max_bytes: more than 0 is expected".to_owned()) } else { Ok(size) }
        });
        self.take(&mut config.answer_head_timeout, gateway.answer_head_timeout_s, |seconds| {
            let fits = (1..=SECONDS_LIMIT).contains(&seconds);
            fits.then(|| Duration::from_secs(seconds)).ok_or(format!("gateway.answer_head_timeout_s: 1 to {SECONDS_LIMIT} is expected"))
        });
        self.take(&mut config.grace, gateway.grace_s, |seconds| {
            let fits = seconds <= SECONDS_LIMIT;
            fits.then(|| Duration::from_secs(seconds)).ok_or(format!("gateway.grace_s: 0 to {SECONDS_LIMIT} is expected"))
        });
        self.take(&mut config.ca_file, tls.ca_file, |path| {
            if path.is_absolute() { Ok(Some(path)) } else { Err(format!("tls.ca_file: {} is not an absolute path", path.display())) }
        });
        self.take(&mut config.allow_private, egress.allow_private, |origins| {
            let read = origins.iter().map(|text| text.parse().map_err(|error| format!("egress.allow_private: {error}")));
            read.collect()
        });
        self.take(&mut config.export_allow, export.allow, Ok);
        self.take(&mut config.log_level, log.level, |level| {
            if LOG_LEVELS.contains(&level.as_str()) {
                Ok(level)
            } else {
                Err(format!("log.level: {level:?} is none of {}", LOG_LEVELS.join(", ")))
            }
        });
        self.take(&mut config.events.command, told.command, events::command);
        self.take(&mut config.events.webhook, told.webhook, |url| events::webhook(&url).map(Some));
        self.take(&mut config.events.webhook_secret, told.webhook_secret, |text| events::webhook_secret(&text).map(Some));
        self.take(&mut config.events.kinds, told.kinds, events::kinds);
        self.take(&mut config.environment_keys, environment.keys, Ok);
        config.routes = self.routes(routes);
        config.machine_logins = self.machine_logins(&providers);
        config.api_keys = self.api_keys(providers);
        config
    }

    /// The patterns in the order in which they are written, since the first match wins.
    fn routes(&mut self, table: BTreeMap<Spanned<String>, Spanned<String>>) -> Vec<Setting<(String, ProviderId)>> {
        let mut written: Vec<_> = table.into_iter().collect();
        written.sort_by_key(|(pattern, _)| pattern.span().start);
        let mut routes = Vec::with_capacity(written.len());
        for (pattern, provider) in written {
            let at = provider.span().start;
            let origin = self.origin(at);
            match ProviderId::new(provider.get_ref()) {
                Ok(id) => {
                    routes.push(Setting { value: (pattern.into_inner(), id), origin });
                }
                Err(error) => self.problem(at, format!("routes.{:?}: {error}", pattern.get_ref())),
            }
        }
        routes
    }

    /// Keys that stand here, or are named here. What is no reference is not repeated: it may be a key.
    fn api_keys(&mut self, table: BTreeMap<Spanned<String>, ProviderTable>) -> Vec<Setting<(String, ValueRef)>> {
        let mut keys = Vec::new();
        for (provider, ProviderTable { api_key, .. }) in table {
            let Some(written) = api_key else { continue };
            let at = written.span().start;
            match ValueRef::read(written.get_ref()) {
                Ok(value) => keys.push(Setting { value: (provider.into_inner(), value), origin: self.origin(at) }),
                Err(error) => self.problem(at, format!("providers.{}.api_key: {error}", provider.get_ref())),
            }
        }
        keys
    }

    /// Logins of this machine that are named here; whether there is one shows when the catalogue is known.
    fn machine_logins(&self, table: &BTreeMap<Spanned<String>, ProviderTable>) -> Vec<Setting<(String, MachineLogin)>> {
        let written = table.iter().filter_map(|(provider, table)| Some((provider, table.machine_login.as_ref()?)));
        let read = |(provider, text): (&Spanned<String>, &Spanned<String>)| Setting {
            value: (provider.get_ref().clone(), MachineLogin(text.get_ref().clone())),
            origin: self.origin(text.span().start),
        };
        written.map(read).collect()
    }

    fn take<W, T>(&mut self, into: &mut Setting<T>, written: Option<Spanned<W>>, read: impl FnOnce(W) -> Result<T, String>) {
        let Some(written) = written else { return };
        let at = written.span().start;
        match read(written.into_inner()) {
            Ok(value) => *into = Setting { value, origin: self.origin(at) },
            Err(message) => self.problem(at, message),
        }
    }

    fn origin(&self, at: usize) -> Origin {
        let (line, column) = place_of(self.text, at);
        Origin::File { path: self.path.to_path_buf(), line, column }
    }

    fn problem(&mut self, at: usize, message: String) {
        let place = Some(place_of(self.text, at));
        self.problems.push(Problem { path: self.path.to_path_buf(), place, message });
    }
}

/// Line and column of a byte, from 1; columns count letters.
fn place_of(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        parse(Path::new("/c/config.toml"), text).map_err(|problems| problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(read(""), Ok(Config::defaults()));
    }

    #[test]
    fn every_value_says_its_line() {
        let config = read("[gateway]\nlisten = \"127.0.0.1:9\"\n\n[export]\nallow = true\n").unwrap();
        assert_eq!(config.listen.value.port(), 9);
        assert_eq!(config.listen.origin.to_string(), "/c/config.toml:2");
        assert_eq!(
            config.export_allow,
            Setting { value: true, origin: Origin::File { path: "/c/config.toml".into(), line: 5, column: 9 } }
        );
        assert_eq!(config.log_level.origin, Origin::Default);
        let config = config.overlaid(Some(LISTEN_DEFAULT), None);
        assert_eq!(config.listen.origin.to_string(), "environment CLAVIGER_LISTEN");
    }

    #[test]
    fn an_unknown_key_is_an_error_with_line_and_column() {
        let problems = read("[gateway]\n  port = 1\n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("/c/config.toml:2:3: unknown field `port`"), "{problems:?}");
        assert!(read("[gateways]\n").unwrap_err()[0].starts_with("/c/config.toml:1:2: unknown field `gateways`"));
    }

    #[test]
    fn broken_syntax_is_an_error_with_line_and_column() {
        let problems = read("[gateway]\nlisten = 127.0.0.1\n").unwrap_err();
        assert!(problems[0].starts_with("/c/config.toml:2:"), "{problems:?}");
    }

    #[test]
    fn all_bad_values_are_told_at_once() {
        let problems =
            read("[gateway]\nlisten = \"nowhere\"\nconnections_max = 0\n[log]\nlevel = \"loud\"\n[routes]\n\"gpt-*\" = \"Not/An/Id\"\n")
                .unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].starts_with("/c/config.toml:2:10: gateway.listen: "), "{problems:?}");
    }

    #[test]
    fn routes_keep_the_order_of_the_file() {
        let config = read("[routes]\n\"z-*\" = \"one\"\n\"a-*\" = \"two\"\n").unwrap();
        let order: Vec<_> = config.routes.iter().map(|route| route.value.0.as_str()).collect();
        assert_eq!(order, ["z-*", "a-*"]);
    }
}
