//! `claviger login`: a person's side of a login. It opens the page, listens for the browser, asks, and tells; every secret of the
//! flow stays with the control plane.

mod browser;
mod callback;
mod follow;
mod key;
mod keyboard;
mod saying;
mod way;

use super::account::{one_line, words};
use super::provider;
use crate::args::LoginArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Output;
use crate::port;
use callback::Callback;
use claviger_admin::{AccountAdded, AddOutcome, LoginAsk, LoginWayWord};
use claviger_domain::profile::ProviderProfile;
use claviger_providers::login::{CodeFlow, LoginRule, LoginWay, Redirect, RedirectPort};
use claviger_runtime::best_effort;
use follow::{Consent, Side};
use saying::{Event, Saying};
use std::collections::BTreeMap;
use way::{Place, Plan};

/// Says why a login failed, as its last event. Whatever fails is said so, what was mistyped too: a program reads lines.
pub fn tell_failure(output: Output, error: &CliError) {
    best_effort("say why the login failed", Saying::new(output).tell(&Event::Error { error: &error.0 }));
}

/// Runs the command.
pub async fn run(context: &Context, args: LoginArgs) -> Result<(), CliError> {
    let saying = Saying::new(context.output);
    let catalogue = provider::catalogue(context)?;
    let profile = provider::find(&catalogue, &args.provider)?;
    let rule = catalogue.login(profile.id.as_str()).cloned().unwrap_or_default();
    let plan = way::plan(&profile, &rule, &args, Place::of(&context.env))?;
    if let (LoginWayWord::Key, false, Some(advice)) = (plan.way, args.with_key, &rule.advice) {
        saying.tell(&Event::Warning { message: advice })?;
    }
    let label = args.label.as_deref().map(|label| one_line("label", label)).transpose()?.filter(|label| !label.is_empty());
    let callback = listen(saying, &profile, &rule, &plan).await?;
    let ask = LoginAsk {
        provider: profile.id.to_string(),
        way: plan.way,
        account: args.account.map(|account| account.0),
        label,
        params: params(&args.params)?,
        port: callback.as_ref().map(Callback::port),
        actor: "cli".to_owned(),
    };
    // Where nobody listens, what the browser ends at can only be pasted.
    let plan = Plan { pastes: plan.pastes || callback.is_none(), ..plan };
    let consent = if args.yes { Consent::Given } else { Consent::Asked };
    let mut side = Side::new(context, saying, callback, plan, consent);
    let ended = side.login(&profile, ask).await;
    side.close().await;
    ended
}

/// Listens where the provider sends browsers back to, if it does that. A port that it insists on and that is taken is said, with
/// who holds it.
async fn listen(saying: Saying, profile: &ProviderProfile, rule: &LoginRule, plan: &Plan) -> Result<Option<Callback>, CliError> {
    let flow = rule.ways.iter().find_map(|way| match way {
        LoginWay::Loopback(flow) => Some(flow),
        LoginWay::Paste(_) | LoginWay::Device(_) | LoginWay::Vendor(_) | LoginWay::Key(_) => None,
    });
    let (Some(flow), LoginWayWord::Loopback) = (flow, plan.way) else { return Ok(None) };
    let Redirect::Loopback { host, port, path } = &flow.redirect else { return Ok(None) };
    let wanted = match *port {
        RedirectPort::Any => 0,
        RedirectPort::Preferred(port) | RedirectPort::Fixed(port) => port,
    };
    match Callback::listen(host, wanted, path).await {
        Ok(callback) => Ok(Some(callback)),
        Err(error) if matches!(port, RedirectPort::Fixed(_)) => taken(saying, profile, (flow, wanted), &error).map(|()| None),
        Err(_) if wanted != 0 => Callback::listen(host, 0, path).await.map(Some).map_err(|error| unable(&error)),
        Err(error) => Err(unable(&error)),
    }
}

fn unable(error: &std::io::Error) -> CliError {
    CliError::failed(format!("nothing can be listened on for the browser: {error}"))
}

/// Whoever holds the port gets the code that the browser brings. Without a verifier that code would be all that it takes.
fn taken(saying: Saying, profile: &ProviderProfile, (flow, port): (&CodeFlow, u16), error: &std::io::Error) -> Result<(), CliError> {
    let holder = port::holder(port).map_or_else(|| format!("({error})"), |holder| format!("by {holder}"));
    let message = format!("{} sends browsers to port {port} alone, and that is taken {holder}", profile.id);
    if !flow.pkce {
        return Err(CliError::failed(message).hint(format!("end what holds it, then claviger login {}", profile.id)));
    }
    saying.tell(&Event::Warning { message: &message })
}

/// `NAME=VALUE` pairs.
fn params(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err(CliError::usage("--param takes NAME=VALUE").hint("claviger login PROVIDER --param project=ID")),
    };
    given.iter().map(pair).collect()
}

/// What became of an account, in one line.
pub fn told(added: &AccountAdded) -> String {
    let name = words::short(&added.account);
    match added.outcome {
        AddOutcome::Created => format!("added {name}"),
        AddOutcome::Updated => format!("updated {name}"),
        AddOutcome::Unchanged => format!("unchanged: {name}"),
    }
}
