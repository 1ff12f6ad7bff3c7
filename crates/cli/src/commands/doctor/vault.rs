//! Whether the vault opens, whether its rows can be read, whether it was put back, and whether answers of token endpoints are
//! left over.

use super::Finding;
use super::gateway::Server;
use crate::context::Context;
use crate::error::CliError;
use crate::wire_up;
use claviger_admin::{AccountList, Admin, FaultView};
use claviger_store::Store;
use std::path::PathBuf;

/// What the vault holds.
#[derive(Debug)]
pub struct Vault {
    /// All accounts.
    pub accounts: AccountList,
    keys_active: u64,
    faults: Vec<FaultView>,
    leftovers: Leftovers,
    copies: Copies,
}

/// What is known of copies of the vault.
#[derive(Debug)]
struct Copies {
    /// Where the vault's epoch is mirrored.
    mirrors: Option<PathBuf>,
    /// What was found when the vault was opened, or is in quarantine since.
    degraded: Vec<String>,
    /// What could not be looked at.
    warnings: Vec<String>,
}

/// Slots of answers that no refresh took up.
#[derive(Debug)]
enum Leftovers {
    /// A running server fills and empties slots all the time, so that nothing can be said beside it.
    NotCounted,
    /// What recovery left when the vault was opened.
    Counted(usize),
}

/// Asks the server that has the vault open, or opens it.
pub async fn look(context: &Context, server: &Server) -> Result<Vault, CliError> {
    if server.is_running() {
        let admin = context.admin().await?;
        return gather(&*admin, Leftovers::NotCounted, context).await;
    }
    let opened = wire_up::open(context).await?;
    let leftovers = Leftovers::Counted(opened.store.spill_list().await?.len());
    let vault = gather(&opened.pool, leftovers, context).await;
    opened.close().await;
    vault
}

async fn gather(admin: &dyn Admin, leftovers: Leftovers, context: &Context) -> Result<Vault, CliError> {
    let status = admin.status().await?;
    let accounts = admin.account_list().await?;
    let copies = Copies { mirrors: context.paths.mirrors.clone(), degraded: status.degraded, warnings: status.warnings };
    Ok(Vault { accounts, keys_active: status.keys_active, faults: status.faults, leftovers, copies })
}

/// A vault that could not be asked.
pub fn unopened(error: &CliError) -> Finding {
    let finding = Finding::failed("vault", error, "claviger init");
    // This is the doctor already.
    let hint =
        finding.hint.filter(|hint| hint != "claviger doctor").unwrap_or_else(|| "do what this and the other findings say".to_owned());
    Finding { hint: Some(hint), ..finding }
}

impl Vault {
    /// What is to be said about it.
    pub fn findings(&self) -> Vec<Finding> {
        let opens = Finding::ok(
            "vault",
            format!("it opens; accounts: {}, virtual keys that work: {}", self.accounts.accounts.len(), self.keys_active),
        );
        vec![opens, self.rows(), self.copies.finding(), self.spill()]
    }

    fn rows(&self) -> Finding {
        if self.faults.is_empty() {
            return Finding::ok("rows", "every row can be read");
        }
        let faults: Vec<String> = self.faults.iter().map(|fault| format!("{}: {}", fault.row, fault.why)).collect();
        Finding::fail(
            "rows",
            faults.join("; "),
            "claviger account list, then claviger account remove ID of what is damaged, and add it again",
        )
    }

    fn spill(&self) -> Finding {
        match self.leftovers {
            Leftovers::NotCounted => Finding::ok("spill", "not looked at: a server runs, and its refreshes use the slots"),
            Leftovers::Counted(0) => Finding::ok("spill", "no answer of a token endpoint is left over"),
            Leftovers::Counted(count) => {
                let detail = format!(
                    "answers of token endpoints that are left over: {count}; a refresh was cut off, or is going on in another process"
                );
                Finding::warn("spill", detail, "claviger account list, and log in again where that is needed")
            }
        }
    }
}

impl Copies {
    fn finding(&self) -> Finding {
        const CHECK: &str = "copies";
        const TAKE: &str = "claviger account list, then claviger account take ID for what is used here alone";
        let Some(mirrors) = &self.mirrors else {
            let detail = "neither XDG_STATE_HOME nor HOME is set: a vault that is put back from an older copy is not noticed";
            return Finding::warn(CHECK, detail, "export XDG_STATE_HOME=DIR");
        };
        if !self.degraded.is_empty() {
            return Finding::warn(CHECK, self.degraded.join("; "), TAKE);
        }
        if !self.warnings.is_empty() {
            let hint =
                format!("see that {} is yours alone (chmod 700), and that no older copy of the vault was put back", mirrors.display());
            return Finding::warn(CHECK, self.warnings.join("; "), hint);
        }
        Finding::ok(CHECK, format!("the vault is as new as its mirror in {}", mirrors.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    fn vault(faults: Vec<FaultView>, leftovers: Leftovers) -> Vault {
        let copies = Copies { mirrors: Some("/s/claviger".into()), degraded: Vec::new(), warnings: Vec::new() };
        Vault { accounts: AccountList { accounts: Vec::new() }, keys_active: 0, faults, leftovers, copies }
    }

    #[test]
    fn a_quarantine_an_unusable_mirror_and_no_mirror_at_all_deserve_a_look() {
        let copies = |mirrors: Option<&str>, degraded: &[&str], warnings: &[&str]| Copies {
            mirrors: mirrors.map(PathBuf::from),
            degraded: degraded.iter().map(|text| (*text).to_owned()).collect(),
            warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        };
        let held = copies(Some("/s"), &["1 account is in quarantine"], &[]).finding();
        assert_eq!(held.verdict, Verdict::Warn);
        assert!(held.hint.unwrap().contains("claviger account take"));
        assert_eq!(copies(Some("/s"), &[], &["it was not there"]).finding().verdict, Verdict::Warn);
        assert_eq!(copies(None, &[], &[]).finding().hint.as_deref(), Some("export XDG_STATE_HOME=DIR"));
    }

    #[test]
    fn a_row_that_cannot_be_read_fails_by_name_and_a_leftover_warns() {
        let fault = FaultView { row: "grants 3".to_owned(), why: "access is damaged".to_owned() };
        let findings = vault(vec![fault], Leftovers::Counted(2)).findings();
        let verdicts: Vec<Verdict> = findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Fail, Verdict::Ok, Verdict::Warn]);
        assert!(findings[1].detail.contains("grants 3: access is damaged"));
        let findings = vault(Vec::new(), Leftovers::NotCounted).findings();
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok));
    }

    #[test]
    fn the_doctor_does_not_send_people_to_the_doctor() {
        let circular = CliError::refused("open to others").hint("claviger doctor");
        assert_eq!(unopened(&circular).hint.as_deref(), Some("do what this and the other findings say"));
        let missing = CliError::not_found("there is no vault").hint("claviger init");
        assert_eq!(unopened(&missing).hint.as_deref(), Some("claviger init"));
    }
}
