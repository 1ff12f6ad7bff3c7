//! `claviger doctor`: looks for what is wrong, one finding a thing, each with what to type.

mod accounts;
mod clock;
mod files;
mod gateway;
mod kit;
mod settings;
mod vault;

use super::account::words::tidy;
use crate::args::DoctorArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_runtime::{Clock, SystemClock};
use serde::Serialize;
use std::fmt::Write as _;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something deserves a look.
    Warn,
    /// Something does not work, or is not safe.
    Fail,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    /// How bad it is.
    verdict: Verdict,
    /// What was found.
    detail: String,
    /// What to type, or to do.
    hint: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, detail: detail.into(), hint: None }
    }

    fn warn(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, detail: detail.into(), hint: Some(hint.into()) }
    }

    fn fail(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, detail: detail.into(), hint: Some(hint.into()) }
    }

    /// From an error, with its own hint where it has one.
    fn failed(check: &'static str, error: &CliError, otherwise: &str) -> Self {
        let hint = error.0.hint.clone().unwrap_or_else(|| otherwise.to_owned());
        Self::fail(check, error.0.message.clone(), hint)
    }
}

/// Runs the command. Every look is taken, whatever the others found.
pub async fn run(context: &Context, _args: DoctorArgs) -> Result<(), CliError> {
    let findings = look(context).await;
    context.output.data(&findings, || render(&findings))?;
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    let error =
        CliError::failed(format!("{failed} of {} checks failed", findings.len())).hint("do what the hints say, then claviger doctor");
    // The one JSON document is the list, which says it.
    Err(if context.output.is_json() { error.said() } else { error })
}

async fn look(context: &Context) -> Vec<Finding> {
    let now = SystemClock.now();
    let mut findings = files::look(&context.paths);
    findings.extend(settings::look(context));
    let server = gateway::server(context).await;
    findings.push(server.finding());
    findings.extend(gateway::address(context, &server).await);
    let accounts = match vault::look(context, &server).await {
        Ok(vault) => {
            findings.extend(vault.findings());
            Some(vault.accounts)
        }
        Err(error) => {
            findings.push(vault::unopened(&error));
            None
        }
    };
    if accounts.is_some() {
        findings.extend(kit::look(context).await);
    }
    if let Some(list) = &accounts {
        findings.extend(accounts::standing(list, now));
        findings.extend(accounts::followed(list));
    }
    findings.push(clock::look(now, accounts.as_ref()));
    findings
}

fn render(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        writeln!(text, "{word}  {:width$}  {}", finding.check, tidy(&finding.detail)).expect("writing to a String never fails");
        if let Some(hint) = &finding.hint {
            writeln!(text, "      {:width$}  hint: {}", "", tidy(hint)).expect("writing to a String never fails");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_each_finding_with_its_hint_below() {
        let findings = [
            Finding::ok("home", "/h/claviger"),
            Finding::warn("accounts", "account 3: openai needs login: the key was refused", "claviger login openai --with-key"),
            Finding::fail("key file", "/c/master.key can be read by others (mode 0644)\u{1b}[2J", "chmod 600 /c/master.key"),
        ];
        insta::assert_snapshot!(render(&findings), @r"
        ok    home      /h/claviger
        warn  accounts  account 3: openai needs login: the key was refused
                        hint: claviger login openai --with-key
        fail  key file  /c/master.key can be read by others (mode 0644)�[2J
                        hint: chmod 600 /c/master.key
        ");
        insta::assert_snapshot!(serde_json::to_string_pretty(&findings).unwrap(), @r#"
        [
          {
            "check": "home",
            "verdict": "ok",
            "detail": "/h/claviger",
            "hint": null
          },
          {
            "check": "accounts",
            "verdict": "warn",
            "detail": "account 3: openai needs login: the key was refused",
            "hint": "claviger login openai --with-key"
          },
          {
            "check": "key file",
            "verdict": "fail",
            "detail": "/c/master.key can be read by others (mode 0644)\u001b[2J",
            "hint": "chmod 600 /c/master.key"
          }
        ]
        "#);
    }
}
