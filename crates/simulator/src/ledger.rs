//! The ledger: everything that reached the provider, and what became of it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::credits_endpoint::CreditHit;
use crate::faults::{LlmFault, TokenFault};
use crate::identity_provider::LoginHit;
use crate::state::Shared;
use crate::usage_endpoint::UsageHit;

/// Entries of one kind that are kept; older ones leave the lists but not the counts. Far above what a test looks at,
/// and a bound for a demo that runs for weeks.
const ENTRIES_MAX: usize = 100_000;

/// Bytes of request bodies that are kept; the oldest bodies are emptied first. Agents send about 90 kB a turn.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One POST to the token endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct TokenPost {
    /// Its number, from 0, in order of arrival.
    pub id: u64,
    /// When its headers were read, in epoch milliseconds of the simulator's clock.
    pub at_ms: i64,
    /// The path it was sent to.
    pub path: String,
    /// The refresh token in the body; absent until the body was read, and if it held none.
    pub refresh_token: Option<String>,
    /// The `client_id` in the body.
    pub client_id: Option<String>,
    /// What the token server did with it.
    pub outcome: TokenOutcome,
    /// The fault that was played, also where the token was redeemed before the answer went wrong.
    pub fault: Option<TokenFault>,
    /// The status answered; absent while it is held, and for ever where the connection closed without an answer.
    pub status: Option<u16>,
    /// How the exchange ended.
    pub end: ExchangeEnd,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// `User-Agent` as sent.
    pub user_agent: Option<String>,
    /// All headers in order, as they were on the wire.
    pub headers: Vec<(String, String)>,
}

/// What the token server did with a refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenOutcome {
    /// The body was not read yet.
    Pending,
    /// A live token was redeemed. The pair is valid afterwards; `refresh` is the one sent where the policy keeps it.
    Rotated {
        /// The access token.
        access: String,
        /// The refresh token.
        refresh: String,
    },
    /// A consumed token inside its grace window: the successor pair again.
    Replayed {
        /// The access token.
        access: String,
        /// The refresh token.
        refresh: String,
    },
    /// A consumed token outside any grace: its family was killed.
    Reused,
    /// A token of a family that was killed or revoked earlier.
    Dead,
    /// A token that this server never issued.
    Unknown,
    /// The body was no refresh request, but that of a login: see [`Ledger::login_hits`].
    Login,
    /// The body was no refresh request.
    Malformed,
    /// A fault came first: no token was touched.
    Faulted(TokenFault),
}

/// How an exchange ended, seen from the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeEnd {
    /// It has not ended.
    Open,
    /// The whole answer was handed to the connection.
    Completed,
    /// The simulator cut it, as a fault demanded.
    Cut,
    /// The client went away first.
    AbortedByClient,
}

/// One request to anything but the token endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct LlmRequest {
    /// Its number, from 0, in order of arrival.
    pub id: u64,
    /// When its headers were read, in epoch milliseconds of the simulator's clock.
    pub at_ms: i64,
    /// The method.
    pub method: String,
    /// The path and query as sent.
    pub path_and_query: String,
    /// All headers in order, as they were on the wire: case of the names kept, values without outer blanks.
    pub headers: Vec<(String, String)>,
    /// Every credential in any slot, empty ones left out. The first one decides.
    pub credentials: Vec<CredentialSeen>,
    /// What the deciding credential was worth.
    pub verdict: CredentialVerdict,
    /// The body; empty until it was read.
    #[serde(serialize_with = "body_as_text")]
    pub body: Bytes,
    /// The fault that was played.
    pub fault: Option<LlmFault>,
    /// The status answered; absent while it is held, and for ever where the connection closed without an answer.
    pub status: Option<u16>,
    /// How the exchange ended.
    pub end: ExchangeEnd,
}

impl LlmRequest {
    /// The credential that decided.
    pub fn credential(&self) -> Option<&CredentialSeen> {
        self.credentials.first()
    }

    /// The account that the deciding credential belongs or belonged to.
    pub fn account(&self) -> Option<&str> {
        self.verdict.account()
    }

    /// The value of the first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether the client went away before the answer's end.
    pub fn is_aborted(&self) -> bool {
        self.end == ExchangeEnd::AbortedByClient
    }
}

/// A credential in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialSeen {
    /// Where it was.
    pub slot: CredentialSlot,
    /// Its text, without the scheme.
    pub text: String,
}

/// A place in a request that carries a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialSlot {
    /// `Authorization: Bearer`.
    Bearer,
    /// `x-api-key`.
    XApiKey,
    /// `x-goog-api-key`.
    XGoogApiKey,
    /// `api-key`.
    ApiKey,
    /// `?key=`.
    Query,
}

/// What a credential is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialVerdict {
    /// There was none.
    Missing,
    /// An access token that is good.
    Live {
        /// Its account.
        account: String,
    },
    /// A registered API key.
    ApiKey {
        /// Its account.
        account: String,
    },
    /// An access token after its end.
    Expired {
        /// Its account.
        account: String,
    },
    /// An access token that was revoked.
    Revoked {
        /// Its account.
        account: String,
    },
    /// Neither an access token issued here nor a registered key, or an access token outside `Authorization`.
    Unknown,
}

impl CredentialVerdict {
    /// The account that the credential belongs or belonged to.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Live { account } | Self::ApiKey { account } | Self::Expired { account } | Self::Revoked { account } => Some(account),
            Self::Missing | Self::Unknown => None,
        }
    }

    /// Whether a request with this credential is served.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Live { .. } | Self::ApiKey { .. })
    }

    fn is_stale(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::Revoked { .. } | Self::Unknown)
    }
}

/// A handle on the ledger of a running simulator. Clones see the same ledger; it outlives the server.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

impl Ledger {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Every POST to the token endpoint, oldest first.
    pub fn token_posts(&self) -> Vec<TokenPost> {
        self.shared.read(|state| state.book.token_posts.iter().cloned().collect())
    }

    /// How many POSTs reached the token endpoint.
    pub fn refreshes(&self) -> usize {
        self.shared.read(|state| state.book.token_posts_count())
    }

    /// How many times a consumed refresh token came again outside any grace window.
    pub fn reuses(&self) -> usize {
        self.shared.read(|state| state.book.reuses)
    }

    /// Every request to anything but the token endpoint, oldest first.
    pub fn requests(&self) -> Vec<LlmRequest> {
        self.shared.read(|state| state.book.requests.iter().cloned().collect())
    }

    /// How many requests reached anything but the token endpoint.
    pub fn requests_count(&self) -> usize {
        self.shared.read(|state| state.book.requests_count())
    }

    /// Every question to the endpoint of saved resets, oldest first. None of them is among [`Ledger::requests`].
    pub fn credit_hits(&self) -> Vec<CreditHit> {
        self.shared.read(|state| state.credits.hits.clone())
    }

    /// Every question to the usage endpoint, oldest first. None of them is among [`Ledger::requests`].
    pub fn usage_hits(&self) -> Vec<UsageHit> {
        self.shared.read(|state| state.usage.hits.clone())
    }

    /// Every distinct credential text in any slot of those requests, in order of first sight.
    pub fn credentials_seen(&self) -> Vec<String> {
        self.shared.read(|state| state.book.credentials.clone())
    }

    /// How many of those requests carried an expired, revoked or unknown credential.
    pub fn stale_credentials(&self) -> usize {
        self.shared.read(|state| state.book.stale)
    }

    /// Every request of a login, in order.
    pub fn login_hits(&self) -> Vec<LoginHit> {
        self.shared.read(|state| state.identity_provider.hits.clone())
    }

    /// How many answers are held now, waiting for [`crate::Control::release`].
    pub fn held(&self) -> usize {
        self.shared.read(|state| state.held)
    }

    /// Waits until `pred` holds. It is asked at once and after every change; there is no time limit and no polling.
    /// Dropping the future is safe.
    pub async fn wait_for<F: FnMut(&Ledger) -> bool>(&self, mut pred: F) {
        let mut changes = self.shared.changes();
        while !pred(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// The ledger's pages.
#[derive(Debug, Default)]
pub(crate) struct Book {
    token_posts: VecDeque<TokenPost>,
    token_posts_next: u64,
    reuses: usize,
    requests: VecDeque<LlmRequest>,
    requests_next: u64,
    stale: usize,
    credentials: Vec<String>,
    credentials_known: HashSet<String>,
    body_bytes: usize,
    bodies_emptied_below: u64,
}

impl Book {
    /// Enters a token post whose headers were read and returns its number.
    pub(crate) fn token_post_begin(&mut self, at_ms: i64, path: &str, headers: Vec<(String, String)>) -> u64 {
        let id = self.token_posts_next;
        self.token_posts_next += 1;
        if self.token_posts.len() == ENTRIES_MAX {
            self.token_posts.pop_front();
        }
        self.token_posts.push_back(TokenPost {
            id,
            at_ms,
            path: path.to_owned(),
            refresh_token: None,
            client_id: None,
            outcome: TokenOutcome::Pending,
            fault: None,
            status: None,
            end: ExchangeEnd::Open,
            content_type: header(&headers, "content-type").map(str::to_owned),
            user_agent: header(&headers, "user-agent").map(str::to_owned),
            headers,
        });
        id
    }

    /// Records what became of a token post's refresh token.
    pub(crate) fn token_post_settle(&mut self, id: u64, outcome: TokenOutcome) {
        if outcome == TokenOutcome::Reused {
            self.reuses += 1;
        }
        if let Some(post) = self.token_post_mut(id) {
            post.outcome = outcome;
        }
    }

    pub(crate) fn token_post_mut(&mut self, id: u64) -> Option<&mut TokenPost> {
        let first = self.token_posts.front()?.id;
        self.token_posts.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    /// Enters a request whose headers were read and returns its number.
    pub(crate) fn request_begin(&mut self, request: LlmRequest) -> u64 {
        let id = self.requests_next;
        self.requests_next += 1;
        self.stale += usize::from(request.verdict.is_stale());
        for seen in &request.credentials {
            if self.credentials.len() < ENTRIES_MAX && self.credentials_known.insert(seen.text.clone()) {
                self.credentials.push(seen.text.clone());
            }
        }
        if self.requests.len() == ENTRIES_MAX
            && let Some(oldest) = self.requests.pop_front()
        {
            self.body_bytes -= oldest.body.len();
        }
        self.requests.push_back(LlmRequest { id, ..request });
        id
    }

    /// Keeps a request's body, and empties older ones where the budget asks for it.
    pub(crate) fn request_body(&mut self, id: u64, body: Bytes) {
        self.body_bytes += body.len();
        if let Some(request) = self.request_mut(id) {
            request.body = body;
        }
        while self.body_bytes > BODY_BYTES_MAX && self.bodies_emptied_below < id {
            let oldest = self.bodies_emptied_below;
            self.bodies_emptied_below += 1;
            let freed = self.request_mut(oldest).map_or(0, |request| std::mem::take(&mut request.body).len());
            self.body_bytes -= freed;
        }
    }

    pub(crate) fn request_mut(&mut self, id: u64) -> Option<&mut LlmRequest> {
        let first = self.requests.front()?.id;
        self.requests.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    fn token_posts_count(&self) -> usize {
        usize::try_from(self.token_posts_next).unwrap_or(usize::MAX)
    }

    fn requests_count(&self) -> usize {
        usize::try_from(self.requests_next).unwrap_or(usize::MAX)
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn body_as_text<S: serde::Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}
