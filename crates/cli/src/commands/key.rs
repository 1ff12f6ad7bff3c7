//! `claviger key`: virtual keys, which we issue and agents present.

use super::account::words::Lines;
use super::when;
use crate::args::{KeyArgs, KeyCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Table, printable};
use claviger_admin::{KeyCreate, KeyCreated, KeyList, KeyView};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::{Clock, SystemClock};

/// Runs the command.
pub async fn run(context: &Context, args: KeyArgs) -> Result<(), CliError> {
    match args.command {
        KeyCommand::Create { label, providers, accounts, expires } => {
            let key = draft(label.as_deref(), providers, &accounts, expires.as_deref())?;
            create(context, key).await
        }
        KeyCommand::List => list(context).await,
        KeyCommand::Revoke { id } => revoke(context, id).await,
    }
}

fn draft(label: Option<&str>, providers: Vec<String>, accounts: &[AccountId], expires: Option<&str>) -> Result<KeyCreate, CliError> {
    let label = label.map(|label| super::account::one_line("label", label)).transpose()?;
    let lifetime_s = expires.map(when::parse_duration).transpose()?.map(|lifetime| lifetime.as_secs());
    Ok(KeyCreate {
        label: label.filter(|label| !label.is_empty()),
        providers,
        accounts: accounts.iter().map(|id| id.0).collect(),
        lifetime_s,
    })
}

/// Stdout carries the key alone, so that `KEY=$(claviger key create)` works; what there is to say about it goes to stderr.
async fn create(context: &Context, key: KeyCreate) -> Result<(), CliError> {
    let created = context.admin().await?.key_create(key).await?;
    if !context.output.is_json() {
        context.output.note(about(&created, SystemClock.now()));
    }
    context.output.data(&created, || created.key.expose().to_owned())
}

fn about(created: &KeyCreated, now: Timestamp) -> String {
    let view = &created.view;
    let mut lines = Lines::titled(&format!("key {}: shown this once, keep it now", view.id));
    lines.maybe("label", view.label.as_deref());
    lines.line("providers", &all_or(&view.providers));
    lines.line("accounts", &all_or(&view.accounts));
    let expires = view.expires_at.map_or_else(|| "when it is revoked".to_owned(), |at| when::both(at, now));
    lines.line("ends", &expires);
    lines.line("to end it", &format!("claviger key revoke {}", view.id));
    lines.into_text().trim_end().to_owned()
}

async fn list(context: &Context) -> Result<(), CliError> {
    let list = context.admin().await?.key_list().await?;
    if list.keys.is_empty() && !context.output.is_json() {
        context.output.note("no key was made yet\nhint: claviger key create");
    }
    context.output.data(&list, || table(&list, SystemClock.now()))
}

async fn revoke(context: &Context, id: Accessor) -> Result<(), CliError> {
    let view = context.admin().await?.key_revoke(id).await?;
    context.output.data(&view, || {
        let label = view.label.as_ref().map(|label| format!(" ({})", printable(label))).unwrap_or_default();
        format!("revoked key {}{label}", view.id)
    })
}

fn table(list: &KeyList, now: Timestamp) -> String {
    if list.keys.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["ID", "LABEL", "PROVIDERS", "ACCOUNTS", "STATE", "CREATED", "USED"]);
    for key in &list.keys {
        table.row([
            key.id.clone(),
            key.label.clone().unwrap_or_default(),
            all_or(&key.providers),
            all_or(&key.accounts),
            state(key, now),
            when::relative(key.created_at, now),
            key.used_at.map(|at| when::relative(at, now)).unwrap_or_default(),
        ]);
    }
    table.render()
}

fn state(key: &KeyView, now: Timestamp) -> String {
    match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", when::relative(at, now)),
        (None, Some(at)) if at <= now => format!("ended {}", when::relative(at, now)),
        (None, Some(at)) => format!("works, ends {}", when::relative(at, now)),
        (None, None) => "works".to_owned(),
    }
}

fn all_or(some: &[impl ToString]) -> String {
    if some.is_empty() { "all".to_owned() } else { some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_admin::Exposed;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn key(id: &str) -> KeyView {
        KeyView {
            id: id.to_owned(),
            label: None,
            providers: Vec::new(),
            accounts: Vec::new(),
            created_at: Timestamp::from_secs(1_799_990_000),
            expires_at: None,
            revoked_at: None,
            used_at: None,
        }
    }

    #[test]
    fn a_list_tells_keys_that_work_from_those_that_do_not() {
        let limited = KeyView {
            label: Some("ci".to_owned()),
            providers: vec!["openai".to_owned(), "google".to_owned()],
            accounts: vec![3],
            expires_at: Some(Timestamp::from_secs(1_800_043_200)),
            used_at: Some(Timestamp::from_secs(1_799_999_940)),
            ..key("bbbbbbbbbb")
        };
        let revoked = KeyView { revoked_at: Some(Timestamp::from_secs(1_799_999_000)), ..key("cccccccccc") };
        let ended = KeyView { expires_at: Some(NOW), ..key("dddddddddd") };
        let list = KeyList { keys: vec![key("aaaaaaaaaa"), limited, revoked, ended] };
        insta::assert_snapshot!(table(&list, NOW), @r"
        ID          LABEL  PROVIDERS       ACCOUNTS  STATE                    CREATED         USED
        aaaaaaaaaa  -      all             all       works                    2 h 46 min ago  -
        bbbbbbbbbb  ci     openai, google  3         works, ends in 12 h      2 h 46 min ago  1 min ago
        cccccccccc  -      all             all       revoked 16 min 40 s ago  2 h 46 min ago  -
        dddddddddd  -      all             all       ended now                2 h 46 min ago  -
        ");
    }

    #[test]
    fn what_is_said_about_a_new_key_does_not_repeat_it() {
        let created = KeyCreated {
            key: Exposed::new("clv_canary-key".to_owned()),
            view: KeyView { label: Some("ci".to_owned()), ..key("aaaaaaaaaa") },
        };
        let text = about(&created, NOW);
        assert!(!text.contains("canary"));
        insta::assert_snapshot!(text, @r"
        key aaaaaaaaaa: shown this once, keep it now
          label         ci
          providers     all
          accounts      all
          ends          when it is revoked
          to end it     claviger key revoke aaaaaaaaaa
        ");
    }

    #[test]
    fn a_draft_takes_a_lifetime_in_days_and_drops_an_empty_label() {
        let draft = draft(Some("  "), vec!["openai".to_owned()], &[AccountId(2)], Some("30d")).unwrap();
        let expected = KeyCreate { label: None, providers: vec!["openai".to_owned()], accounts: vec![2], lifetime_s: Some(2_592_000) };
        assert_eq!(draft, expected);
    }
}
