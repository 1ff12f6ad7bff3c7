//! The end of a login: who it was, whether that is who was meant, and its place in the vault.

use super::LoginFacts;
use crate::Inner;
use crate::admin::profile_named;
use claviger_admin::{AccountAdd, AccountAdded, AdminError, CredentialAdd, ErrorCode, Exposed, IdentityView};
use claviger_domain::id::AccountId;
use claviger_domain::identity::Identity;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_oauth::{AnswerPaths, LoginAnswer, RefreshToken};
use claviger_providers::hooks::FreshLogin;
use claviger_providers::login::TokenFields;

/// Where an answer says what, by a rule.
pub(super) fn paths(fields: &TokenFields) -> AnswerPaths<'_> {
    AnswerPaths {
        access: &fields.access,
        refresh: &fields.refresh,
        account_id: &fields.account_id,
        email: &fields.email,
        org_id: &fields.org_id,
        org_name: &fields.org_name,
    }
}

/// What an exchange brought, with the identity that the answer itself names. What the tokens claim comes with the hooks.
pub(super) fn fresh(facts: &LoginFacts, fields: &TokenFields, answer: LoginAnswer, sent_at: Timestamp) -> Result<FreshLogin, AdminError> {
    let LoginAnswer { token, id_token, identity } = answer;
    let expires_at = if fields.is_key { None } else { token.expires_at(sent_at) };
    if fields.refresh_required && token.refresh.is_none() {
        let message = format!("{} gave no refresh token, so the login would end within the hour", facts.profile.id);
        let hint =
            format!("take back the access that was given before, on the provider's page of connected applications; then {}", facts.again());
        return Err(AdminError::new(ErrorCode::Failed, message).hint(hint));
    }
    Ok(FreshLogin {
        access: token.access.into_text(),
        refresh: token.refresh.map(RefreshToken::into_text),
        id_token: id_token.map(claviger_domain::secret::AccessToken::into_text),
        is_key: fields.is_key,
        expires_at,
        identity,
        plan: None,
    })
}

/// Whether two identities are told apart by what is known of both, or cannot be compared although the first one is known.
///
/// A login that names nobody renews an account that names nobody; it never takes a known one's place unasked.
pub(super) fn is_other(was: &Identity, is: &Identity) -> bool {
    if was.key().is_none() || was.key() == is.key() {
        return false;
    }
    if was.enterprise_url != is.enterprise_url {
        return true;
    }
    let pairs = [(&was.account_id, &is.account_id), (&was.email, &is.email), (&was.org_id, &is.org_id)];
    let known = || pairs.iter().filter_map(|(was, is)| Some((was.as_ref()?, is.as_ref()?)));
    known().count() == 0 || known().any(|(was, is)| was != is)
}

impl Inner {
    /// The identity of the account that a login renews, where another one has logged in.
    pub(crate) fn login_conflict(&self, facts: &LoginFacts, fresh: &FreshLogin) -> Option<(IdentityView, IdentityView)> {
        let row = self.row(facts.account?)?;
        is_other(&row.identity, &fresh.identity).then(|| (row.identity.into(), fresh.identity.clone().into()))
    }

    /// Stores what a login brought.
    pub(crate) async fn login_store(&self, facts: &LoginFacts, fresh: &FreshLogin) -> Result<AccountAdded, AdminError> {
        self.refuse_moved(facts)?;
        if let (Some(id), Some(key)) = (facts.account, fresh.identity.key()) {
            self.refuse_taken(facts, id, &key)?;
        }
        // What an ID token claims stands in the identity; the token itself is not kept.
        let FreshLogin { access, refresh, id_token: _, is_key, expires_at, identity, plan } = fresh;
        let given = |secret: &SecretText| Exposed::new(secret.expose().to_owned());
        let credential = if *is_key {
            CredentialAdd::ApiKey { key: given(access) }
        } else {
            CredentialAdd::Oauth { access: given(access), refresh: refresh.as_ref().map(given), expires_at: *expires_at }
        };
        let account = AccountAdd {
            identity: identity.clone().into(),
            label: facts.label.clone(),
            plan: plan.clone(),
            logged_in_at: (!*is_key).then(|| self.clock.now()),
            onto: facts.account.map(|account| account.0),
            ..AccountAdd::new("login", facts.stores_as.id.as_str(), credential)
        };
        self.account_login(account, &facts.actor).await
    }

    /// A configuration that was loaded since the login began may send to other addresses than the ones that it was begun for.
    fn refuse_moved(&self, facts: &LoginFacts) -> Result<(), AdminError> {
        let now = profile_named(&self.view.load(), facts.stores_as.id.as_str())?;
        if now.origins == facts.stores_as.origins {
            return Ok(());
        }
        let message = format!("the addresses of {} were changed during the login: nothing was stored", now.id);
        Err(AdminError::new(ErrorCode::Refused, message).hint(facts.again()))
    }

    /// Two accounts of a provider are never the same person in the same organisation.
    fn refuse_taken(&self, facts: &LoginFacts, id: AccountId, key: &str) -> Result<(), AdminError> {
        let view = self.view.load();
        let mut others = view.accounts.values().filter(|other| other.row.id != id && other.row.provider == facts.stores_as.id);
        let Some(other) = others.find(|other| other.row.identity.key().as_deref() == Some(key)) else { return Ok(()) };
        let name = other.row.identity.display().map(|name| format!(", {name}")).unwrap_or_default();
        let message = format!("who has logged in is account {}{name}, not account {id}", other.row.id);
        let hint = format!("claviger login {} --account {}", facts.profile.id, other.row.id);
        Err(AdminError::new(ErrorCode::Refused, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(account: &str, email: &str, org: &str) -> Identity {
        let some = |text: &str| Some(text.to_owned());
        Identity { account_id: some(account), email: some(email), org_id: some(org), ..Identity::default() }.normalized()
    }

    #[test]
    fn another_identity_is_one_that_differs_or_cannot_be_compared() {
        let table = [
            (("", "a@x.example", ""), ("", "A@x.example", ""), false),
            (("", "a@x.example", ""), ("", "b@x.example", ""), true),
            (("", "a@x.example", "o1"), ("", "a@x.example", "o2"), true),
            (("w1", "a@x.example", ""), ("w1", "", ""), false),
            (("w1", "a@x.example", ""), ("w2", "a@x.example", ""), true),
            (("", "a@x.example", ""), ("w1", "a@x.example", ""), false),
            (("", "a@x.example", ""), ("", "", ""), true),
            (("w1", "", ""), ("", "a@x.example", ""), true),
            (("", "", ""), ("", "a@x.example", ""), false),
            (("", "", ""), ("", "", ""), false),
        ];
        let at = |host: &str| Identity { enterprise_url: Some(host.to_owned()), ..identity("octo", "", "") };
        assert!(is_other(&at("one.example"), &at("two.example")), "one name in two installations");
        assert!(is_other(&at("one.example"), &identity("octo", "", "")));
        assert!(!is_other(&at("one.example"), &at("one.example")));
        for ((was_account, was_email, was_org), (account, email, org), other) in table {
            let (was, is) = (identity(was_account, was_email, was_org), identity(account, email, org));
            assert_eq!(is_other(&was, &is), other, "{was:?} {is:?}");
        }
    }
}
