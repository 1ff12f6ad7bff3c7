//! Whether the vault opens, whether its rows can be read, and whether answers of token endpoints are left over.

use super::Finding;
use super::gateway::Server;
use crate::context::Context;
use crate::error::CliError;
use crate::wire_up;
use claviger_admin::{AccountList, Admin, FaultView};

/// What the vault holds.
#[derive(Debug)]
pub struct Vault {
    /// All accounts.
    pub accounts: AccountList,
    keys_active: u64,
    faults: Vec<FaultView>,
    leftovers: Leftovers,
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
        return gather(&*admin, Leftovers::NotCounted).await;
    }
    let opened = wire_up::open(context).await?;
    let leftovers = Leftovers::Counted(opened.store.spill_list().await?.len());
    let vault = gather(&opened.pool, leftovers).await;
    opened.close().await;
    vault
}

async fn gather(admin: &dyn Admin, leftovers: Leftovers) -> Result<Vault, CliError> {
    let status = admin.status().await?;
    let accounts = admin.account_list().await?;
    Ok(Vault { accounts, keys_active: status.keys_active, faults: status.faults, leftovers })
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
        vec![opens, self.rows(), self.spill()]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    fn vault(faults: Vec<FaultView>, leftovers: Leftovers) -> Vault {
        Vault { accounts: AccountList { accounts: Vec::new() }, keys_active: 0, faults, leftovers }
    }

    #[test]
    fn a_row_that_cannot_be_read_fails_by_name_and_a_leftover_warns() {
        let fault = FaultView { row: "grants 3".to_owned(), why: "access is damaged".to_owned() };
        let findings = vault(vec![fault], Leftovers::Counted(2)).findings();
        let verdicts: Vec<Verdict> = findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Fail, Verdict::Warn]);
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
