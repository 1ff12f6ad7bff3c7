//! `claviger config`: checks, shows and reloads the configuration.

use crate::args::{ConfigArgs, ConfigCommand};
use crate::config::SettingView;
use crate::context::Context;
use crate::error::CliError;
use crate::{admin_socket, wire_up};
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Checked {
    ok: bool,
    files: Vec<String>,
    providers: u64,
}

#[derive(Serialize)]
struct Shown {
    settings: Vec<SettingView>,
}

/// Runs the command.
pub async fn run(context: &Context, args: ConfigArgs) -> Result<(), CliError> {
    match args.command {
        ConfigCommand::Check => check(context),
        ConfigCommand::Show { origin } => show(context, origin),
        ConfigCommand::Reload => reload(context).await,
    }
}

fn check(context: &Context) -> Result<(), CliError> {
    let loaded = wire_up::load_settings(&context.paths, &context.env, &wire_up::Overrides::default())?;
    let reloaded = loaded.summary();
    let checked = Checked { ok: true, files: reloaded.files, providers: reloaded.providers };
    context.output.data(&checked, || {
        let mut text = String::new();
        for file in &checked.files {
            writeln!(text, "{file}").expect("writing to a String never fails");
        }
        writeln!(text, "ok: {} files, {} providers", checked.files.len(), checked.providers).expect("writing to a String never fails");
        text
    })
}

fn show(context: &Context, origin: bool) -> Result<(), CliError> {
    let loaded = wire_up::load_settings(&context.paths, &context.env, &wire_up::Overrides::default())?;
    let mut settings = loaded.config.settings();
    settings.extend(providers(&loaded));
    context.output.data(&Shown { settings: settings.clone() }, || {
        let width = settings.iter().map(|setting| setting.line().chars().count()).max().unwrap_or(0);
        settings.iter().fold(String::new(), |mut text, setting| {
            let line = setting.line();
            let written = if origin { writeln!(text, "{line:width$}  # {}", setting.origin) } else { writeln!(text, "{line}") };
            written.expect("writing to a String never fails");
            text
        })
    })
}

/// What files of the user say about providers; what is built in is not repeated.
fn providers(loaded: &wire_up::LoadedSettings) -> Vec<SettingView> {
    let ids = loaded.pool.catalogue.iter().map(|profile| profile.id.clone());
    let values = ids.flat_map(|id| loaded.pool.catalogue.effective_values(id.as_str()));
    let written = values.filter(|value| !value.place.is_built_in());
    let shown = written.map(|value| {
        // Numbers, words and lists are written alike in TOML and JSON; what is not stays text.
        let json = serde_json::from_str(&value.value).unwrap_or_else(|_toml_only| value.value.clone().into());
        SettingView { key: value.key.clone(), value: json, origin: value.place.to_string() }
    });
    shown.collect()
}

async fn reload(context: &Context) -> Result<(), CliError> {
    let Some(client) = admin_socket::connect(&context.paths.socket).await? else {
        return Err(CliError::failed("no server runs, so there is nothing to reload").hint("claviger config check"));
    };
    let reloaded = client.reload().await?;
    context.output.data(&reloaded, || format!("reloaded: {} files, {} providers", reloaded.files.len(), reloaded.providers))
}
