//! A stored credential as a control request carries it: refreshed by the ordinary flight where it is due, then read from the vault.

use crate::Inner;
use crate::account::{AccountLive, Reach};
use crate::control_http::ControlClient;
use crate::flight;
use crate::grant::Moment;
use claviger_domain::credential::{CredentialKind, GrantState, Standing};
use claviger_domain::id::GrantRevision;
use claviger_domain::origin::Purpose;
use claviger_domain::refresh::{Due, Failure, Outcome, Want};
use claviger_domain::secret::SecretText;
use claviger_providers::hooks::LiveCredential;
use claviger_store::{GrantRow, GrantSecret};
use std::sync::Arc;
use std::time::Duration;

/// What a failed refresh is called, in checks and events alike.
const REFRESH_FAILED: &str = "oauth refresh failed";

/// A credential that was opened for control requests.
pub(super) struct OpenCredential {
    row: GrantRow,
}

impl OpenCredential {
    /// The revision of its secret.
    pub(super) fn revision(&self) -> GrantRevision {
        self.row.revision
    }

    /// The secret as it is sent.
    pub(super) fn secret(&self) -> &SecretText {
        match &self.row.secret {
            GrantSecret::OAuth { access, .. } => access,
            GrantSecret::ApiKey { key } => key,
        }
    }

    /// As hooks take it.
    pub(super) fn live<'a>(&'a self, account: &'a AccountLive) -> LiveCredential<'a> {
        let is_key = self.row.secret.kind() == CredentialKind::ApiKey;
        LiveCredential { profile: &account.profile, secret: self.secret(), is_key, identity: &account.row.identity }
    }
}

impl Inner {
    /// Opens the credential of an account; the error says in a few words why there is none to send.
    pub(super) async fn open_credential(self: &Arc<Self>, account: &Arc<AccountLive>, want: Want) -> Result<OpenCredential, String> {
        if let Standing::Disabled { cause, .. } = &account.row.standing {
            return Err(format!("switched off: {cause}"));
        }
        if account.reach != Reach::Admitted && account.grant.facts().state == GrantState::Live {
            return Err("its provider's address has changed".to_owned());
        }
        self.refreshed(account, want).await?;
        let row = self.grant_with_value(account.row.grant).await.map_err(|error| error.to_string())?;
        let row = row.ok_or_else(|| "it is gone".to_owned())?;
        if !account.grant.facts().is_sendable(Moment::of(&*self.clock)) {
            return Err("its token has ended, and there is nothing to refresh it with".to_owned());
        }
        Ok(OpenCredential { row })
    }

    /// Has it refreshed where that is wanted. A refresh that fails is an error although a token may be left for a minute.
    async fn refreshed(self: &Arc<Self>, account: &Arc<AccountLive>, want: Want) -> Result<(), String> {
        let moment = Moment::of(&*self.clock);
        let (wanted, sendable, renewable, resting) = {
            let facts = account.grant.facts();
            if let GrantState::NeedsLogin { cause, .. } = &facts.state {
                let is_value = account.kind == CredentialKind::ApiKey || account.row.id.is_unstored();
                return Err(if is_value { cause.clone() } else { format!("{REFRESH_FAILED}: {cause}") });
            }
            let wanted = matches!(want, Want::NewerThan(_)) || facts.is_due(moment);
            let resting = account.grant.resting(moment);
            (wanted && account.kind == CredentialKind::OAuth, facts.is_sendable(moment), account.is_renewable(&facts, resting), resting)
        };
        match (wanted && renewable, resting) {
            (false, _) => Ok(()),
            // It was tried a moment ago. What is left of the token serves meanwhile.
            (true, Some(_)) if sendable => Ok(()),
            (true, Some(_)) => Err(format!("{REFRESH_FAILED}: it was tried a moment ago, and is tried again soon")),
            (true, None) => judged(flight::join(self, &account.grant, &account.profile, want).await),
        }
    }

    /// The way to the provider for a control request of this account; `false` where its credential may not go there.
    pub(super) fn control_client(&self, account: &AccountLive, patience: Duration) -> ControlClient {
        ControlClient::new(self, &account.profile).through(account.row.options.proxy.as_ref()).patient_for(patience)
    }
}

impl OpenCredential {
    /// Whether it may be sent to where the provider's usage endpoint is now.
    pub(super) fn may_ask_for_usage(&self, account: &AccountLive) -> Result<(), String> {
        if account.profile.origins_admitted(&self.row.origins, Purpose::Usage) {
            return Ok(());
        }
        Err("the address of its provider's usage endpoint has changed".to_owned())
    }
}

/// The want of whoever sends a request now.
pub(super) const WHEN_DUE: Want = Want::IfDue { due: Due::Request };

fn judged(outcome: Option<Outcome>) -> Result<(), String> {
    let why = match outcome {
        Some(Outcome::Refreshed | Outcome::Adopted | Outcome::UsingUp { .. }) => return Ok(()),
        Some(Outcome::Dead { cause }) => cause,
        Some(Outcome::Quarantined { .. }) => "it is in quarantine: another copy of this vault may use it".to_owned(),
        Some(Outcome::Failed { why, .. }) => failure(why).to_owned(),
        None => "it broke off".to_owned(),
    };
    Err(format!("{REFRESH_FAILED}: {why}"))
}

const fn failure(why: Failure) -> &'static str {
    match why {
        Failure::Unreachable => "the token endpoint cannot be reached",
        Failure::PutOff => "the token endpoint puts it off",
        Failure::AnswerLost => "the answer was lost",
        Failure::Storage => "the vault cannot be written",
    }
}
