//! `claviger login`: stores what a person got from a provider.

use super::account::{one_line, words};
use super::provider;
use crate::args::LoginArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountAdd, AccountAdded, AddOutcome, CredentialAdd, Exposed, IdentityView, SourceWord};
use claviger_domain::virtual_key;
use serde::Serialize;

/// Most bytes of a key: what common servers take in one header line.
const KEY_MAX_BYTES: usize = 8 * 1024;

/// One line of what happens; this one is the last.
#[derive(Debug, Serialize)]
struct Event<'a> {
    /// `stored`.
    event: &'static str,
    /// What was stored.
    #[serde(flatten)]
    added: &'a AccountAdded,
}

/// Runs the command.
pub async fn run(context: &Context, args: LoginArgs) -> Result<(), CliError> {
    let LoginArgs { provider: name, with_key, label } = args;
    let profile = provider::find(&provider::catalogue(context)?, &name)?;
    let id = profile.id.as_str();
    if !with_key {
        return Err(CliError::usage("log in with a key: nothing else is offered yet").hint(format!("claviger login {id} --with-key")));
    }
    if profile.api_key.is_none() {
        return Err(
            CliError::refused(format!("{id} takes logins, and no keys")).hint(format!("claviger account add {id} --from-json FILE"))
        );
    }
    let label = label.map(|label| one_line("label", &label)).transpose()?.filter(|label| !label.is_empty());
    let key = context.secret_from_stdin_or_prompt(&format!("key of {}", profile.name))?;
    check(&key)?;
    let account = AccountAdd {
        row: "key".to_owned(),
        provider: id.to_owned(),
        credential: CredentialAdd::ApiKey { key },
        identity: IdentityView::default(),
        label,
        source: SourceWord::Login,
        disabled: None,
        blocks: Vec::new(),
        follows: None,
    };
    let added = context.admin().await?.account_add(account).await?;
    context.output.event(&Event { event: "stored", added: &added }, || told(&added))
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

/// Refuses what no provider can have given; what is wrong is said without the key.
fn check(key: &Exposed) -> Result<(), CliError> {
    let key = key.expose();
    let usage = |why: &str| Err(CliError::usage(format!("that is not a key: {why}")));
    if key.len() > KEY_MAX_BYTES {
        return usage(&format!("it is longer than {KEY_MAX_BYTES} bytes"));
    }
    if key.chars().any(char::is_whitespace) {
        return usage("it holds white space");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return usage("it holds letters that a header cannot carry");
    }
    if virtual_key::Presented::read(key).is_some() {
        return usage("it is a virtual key, which Claviger issued itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_key_is_refused_without_being_repeated() {
        let (_, ours) = virtual_key::compose(virtual_key::KeyKind::Standing, &[7; virtual_key::RANDOM_BYTES]);
        let long = "canary".repeat(KEY_MAX_BYTES);
        for bad in ["canary a", "canary\ta", "canary\nb", "canary-ä", "canary\u{7f}", ours.expose(), &long] {
            let error = check(&Exposed::new(bad.to_owned())).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.0.message.contains("canary") && !error.0.message.contains("clv_"), "{}", error.0.message);
        }
        assert!(check(&Exposed::new("sk-test-1".to_owned())).is_ok());
    }
}
