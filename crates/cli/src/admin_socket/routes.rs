//! Every call of `/api/v1`: method, path and the types of both bodies, once for client and server.

use claviger_admin::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountOrigins, AccountTaken, AccountView, AdminError, CheckAsk, CheckView,
    CreditsAsk, CreditsView, ErrorCode, EventPage, EventsAsk, ImportReport, KeyCreate, KeyCreated, KeyList, KeyView, LoginAsk,
    LoginContinue, LoginStep, OriginsView, ProcessList, RedeemAsk, RedeemView, Reloaded, StatusView, TokenAsk, TokenList, UsageAsk,
    UsageView,
};
use claviger_domain::time::Timestamp;
use http::Method;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// Most bytes of a question. An import of a thousand logins takes about 4 MiB.
pub const ASK_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of an answer: a list of ten thousand accounts takes about 8 MiB.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// One call. `Ask` is the body of the question, `Answer` that of the answer; `()` is an empty body.
#[derive(Debug)]
pub struct Route<Ask, Answer> {
    /// The method. A call that changes anything is no GET.
    pub method: Method,
    /// The path; a last segment of `{id}` stands for one id.
    pub path: &'static str,
    bodies: PhantomData<fn(Ask) -> Answer>,
}

impl<Ask, Answer> Route<Ask, Answer> {
    const fn new(method: Method, path: &'static str) -> Self {
        Self { method, path, bodies: PhantomData }
    }

    /// The path for an id.
    pub fn path_for(&self, id: &str) -> String {
        self.path.strip_suffix(ID).map_or_else(|| self.path.to_owned(), |prefix| format!("{prefix}{id}"))
    }
}

/// The segment that stands for an id.
const ID: &str = "{id}";

/// Whether a path is meant by a route's path, and the id in it; empty for a route without one.
pub fn matched<'path>(route: &str, path: &'path str) -> Option<&'path str> {
    match route.strip_suffix(ID) {
        None => (route == path).then_some(""),
        Some(prefix) => path.strip_prefix(prefix).filter(|id| !id.is_empty() && !id.contains('/')),
    }
}

/// How the whole stands.
pub const STATUS: Route<(), ServerStatus> = Route::new(Method::GET, "/api/v1/status");
/// What is in use.
pub const PROCESSES: Route<(), ProcessList> = Route::new(Method::GET, "/api/v1/processes");
/// All accounts.
pub const ACCOUNT_LIST: Route<(), AccountList> = Route::new(Method::GET, "/api/v1/accounts");
/// Stores one account.
pub const ACCOUNT_ADD: Route<AccountAdd, AccountAdded> = Route::new(Method::POST, "/api/v1/accounts");
/// Stores accounts.
pub const ACCOUNT_IMPORT: Route<Import, ImportReport> = Route::new(Method::POST, "/api/v1/accounts/import");
/// Begins a login.
pub const LOGIN_BEGIN: Route<LoginAsk, LoginStep> = Route::new(Method::POST, "/api/v1/logins");
/// Goes on with a login.
pub const LOGIN_CONTINUE: Route<LoginContinue, LoginStep> = Route::new(Method::POST, "/api/v1/logins/continue");
/// Forgets a login.
pub const LOGIN_CANCEL: Route<(), ()> = Route::new(Method::DELETE, "/api/v1/logins/{id}");
/// Asks the provider about one account. It may refresh: no GET.
pub const ACCOUNT_CHECK: Route<CheckAsk, CheckView> = Route::new(Method::POST, "/api/v1/accounts/check");
/// Lists saved resets. A question asks providers: no GET.
pub const CREDITS_LIST: Route<CreditsAsk, CreditsView> = Route::new(Method::POST, "/api/v1/credits");
/// Redeems a saved reset.
pub const CREDITS_REDEEM: Route<RedeemAsk, RedeemView> = Route::new(Method::POST, "/api/v1/credits/redeem");
/// What has happened, or happens within a while. The cursor is in the body.
pub const EVENTS: Route<EventsAsk, EventPage> = Route::new(Method::POST, "/api/v1/events");
/// Lifts blocks.
pub const ACCOUNT_UNBLOCK: Route<Unblock, Unblocked> = Route::new(Method::POST, "/api/v1/accounts/unblock");
/// Changes an account.
pub const ACCOUNT_CHANGE: Route<AccountChange, AccountView> = Route::new(Method::PATCH, "/api/v1/accounts/{id}");
/// Removes an account.
pub const ACCOUNT_REMOVE: Route<(), ()> = Route::new(Method::DELETE, "/api/v1/accounts/{id}");
/// Ends a quarantine.
pub const ACCOUNT_TAKE: Route<(), AccountTaken> = Route::new(Method::POST, "/api/v1/accounts/take/{id}");
/// Where an account's secret may go.
pub const ACCOUNT_ORIGINS: Route<(), AccountOrigins> = Route::new(Method::GET, "/api/v1/accounts/origins/{id}");
/// Binds an account's secret to where its provider is now.
pub const ACCOUNT_REBIND: Route<OriginsView, AccountOrigins> = Route::new(Method::POST, "/api/v1/accounts/rebind/{id}");
/// What accounts have left. A question may make the server ask providers: no GET.
pub const USAGE: Route<UsageAsk, UsageView> = Route::new(Method::POST, "/api/v1/usage");
/// Gives tokens.
pub const TOKEN: Route<TokenAsk, TokenList> = Route::new(Method::POST, "/api/v1/tokens");
/// Makes a virtual key.
pub const KEY_CREATE: Route<KeyCreate, KeyCreated> = Route::new(Method::POST, "/api/v1/keys");
/// All virtual keys.
pub const KEY_LIST: Route<(), KeyList> = Route::new(Method::GET, "/api/v1/keys");
/// Revokes a virtual key.
pub const KEY_REVOKE: Route<(), KeyView> = Route::new(Method::DELETE, "/api/v1/keys/{id}");
/// Reads the configuration again.
pub const RELOAD: Route<(), Reloaded> = Route::new(Method::POST, "/api/v1/reload");
/// Stops the server; the answer comes before the end.
pub const SHUTDOWN: Route<(), ServerFacts> = Route::new(Method::POST, "/api/v1/shutdown");

/// Accounts to be stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// All of them.
    pub accounts: Vec<AccountAdd>,
}

/// Whose blocks are to be lifted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unblock {
    /// One account; absent for all.
    #[serde(default)]
    pub account: Option<i64>,
}

/// What an unblock did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unblocked {
    /// How many blocks were lifted.
    pub lifted: u64,
}

/// How a running server stands: the status of the vault, and the process that serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The process.
    pub server: ServerFacts,
    /// Why the vault is not open yet, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedView>,
    /// The vault; absent while it is sealed.
    #[serde(flatten)]
    pub status: Option<StatusView>,
}

/// Why a server has not opened its vault yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedView {
    /// What is missing, lower case without a full stop.
    pub why: String,
    /// What a person can do, or type.
    pub hint: String,
    /// When the server tries again by itself.
    #[serde(with = "claviger_admin::time_text")]
    pub retry_at: Timestamp,
}

impl SealedView {
    /// The error for every call that needs the vault.
    pub fn error(&self) -> AdminError {
        AdminError::new(ErrorCode::Sealed, format!("the vault is sealed: {}", self.why)).hint(self.hint.clone())
    }
}

/// The process that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Its process id.
    pub pid: u32,
    /// Where the gateway listens.
    pub listen: String,
    /// The data folder.
    pub home: String,
    /// The file that its log goes to, where it runs in the background.
    pub log: Option<String>,
    /// Where the simulated provider listens, in a demo.
    pub simulator: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment() {
        assert_eq!(matched("/a/{id}", "/a/7"), Some("7"));
        assert_eq!(matched("/a/{id}", "/a/"), None);
        assert_eq!(matched("/a/{id}", "/a/7/b"), None);
        assert_eq!(matched("/a", "/a"), Some(""));
        assert_eq!(matched("/a", "/a/7"), None);
        assert_eq!(ACCOUNT_REMOVE.path_for("7"), "/api/v1/accounts/7");
    }
}
