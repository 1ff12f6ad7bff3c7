//! `claviger account rebind`: binds an account's secret to where its provider is now, once a person has seen both.

use super::words;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountOrigins, OriginsView};
use claviger_domain::id::AccountId;
use std::fmt::Write as _;

/// Shows what the origins were and become, and stores them once a person, or `--yes`, agreed to exactly these.
pub async fn run(context: &Context, id: AccountId, yes: bool) -> Result<(), CliError> {
    let admin = context.admin().await?;
    let shown = admin.account_origins(id).await?;
    let name = words::short(&shown.account);
    if shown.stored == shown.effective {
        return context.output.data(&shown, || format!("{name} is bound to where its provider is: there is nothing to do"));
    }
    if !yes {
        context.output.note(format!("{name} may send its secret to other places than it was stored for:\n{}", change(&shown).trim_end()));
        if !context.confirm("bind it to them?")? {
            return Err(CliError::refused(format!("account {id} was not rebound: nobody agreed"))
                .hint(format!("claviger account rebind {id} --yes")));
        }
    }
    let bound = admin.account_rebind(id, shown.effective).await?;
    context.output.data(&bound, || format!("rebound {name}\n{}", change(&bound)))
}

/// What differs, a line for each purpose: `inference  OLD -> NEW`.
fn change(origins: &AccountOrigins) -> String {
    let AccountOrigins { account: _, stored, effective } = origins;
    let OriginsView { inference, usage, token } = stored;
    let purposes = [("inference", inference, &effective.inference), ("usage", usage, &effective.usage), ("token", token, &effective.token)];
    let mut text = String::new();
    for (purpose, old, new) in purposes.into_iter().filter(|(_, old, new)| old != new) {
        let told = |origins: &[String]| if origins.is_empty() { "nowhere".to_owned() } else { words::tidy(&origins.join(" ")) };
        writeln!(text, "  {purpose:9}  {} -> {}", told(old), told(new)).expect("writing to a String never fails");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_admin::AccountOrigins;

    #[test]
    fn only_what_differs_is_shown() {
        let origins = |inference: &str, token: &[&str]| OriginsView {
            inference: vec![inference.to_owned()],
            usage: vec!["https://u.example:443".to_owned()],
            token: token.iter().map(|&origin| origin.to_owned()).collect(),
        };
        let account = super::super::tests::account(1, "anthropic");
        let stored = origins("https://a.example:443", &[]);
        let effective = origins("https://b.example:443", &["https://t.example:443", "https://t2.example:443"]);
        insta::assert_snapshot!(change(&AccountOrigins { account, stored, effective }), @r"
          inference  https://a.example:443 -> https://b.example:443
          token      nowhere -> https://t.example:443 https://t2.example:443
        ");
    }
}
