//! The accounts of `up --demo`: two logins of one provider and an API key of another.

use crate::control::Control;
use crate::tokens::IssuedGrant;

/// The texts of the demo's API key. It opens nothing but a simulator.
const API_KEY: &str = "sk-sim-demo-key-1";

/// An account of the demo and what is needed to import it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoAccount {
    /// The account's name, which its answers carry too.
    pub account: String,
    /// The API shape that the account is meant for.
    pub speaks: DemoDialect,
    /// How it authenticates.
    pub credential: DemoCredential,
}

/// The API shape of a demo provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DemoDialect {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/chat/completions` and `POST /v1/responses`.
    Chat,
}

/// How a demo account authenticates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemoCredential {
    /// A login; it is refreshed at `POST /v1/oauth/token`.
    OAuth(IssuedGrant),
    /// An API key.
    ApiKey(String),
}

/// Enters the demo's accounts into a simulator: `ada@example.com` and `bob@example.com` with a login each, and
/// `team@example.com` with an API key.
pub fn seed(control: &Control) -> Vec<DemoAccount> {
    let login = |account: &str| DemoAccount {
        account: account.to_owned(),
        speaks: DemoDialect::Messages,
        credential: DemoCredential::OAuth(control.grant_issue(account)),
    };
    let key_account = "team@example.com";
    control.api_key_add(API_KEY, key_account);
    let by_key =
        DemoAccount { account: key_account.to_owned(), speaks: DemoDialect::Chat, credential: DemoCredential::ApiKey(API_KEY.to_owned()) };
    vec![login("ada@example.com"), login("bob@example.com"), by_key]
}
