//! Leases: the right to send one credential once, checked again at the moment of sending.

use arc_swap::ArcSwap;
use claviger_domain::classify::Class;
use claviger_domain::credential::CredentialKind;
use claviger_domain::id::{AccountId, GrantId, GrantRevision};
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::Origin;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::session::SessionHash;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::signing::{Content, Signer, Unsignable};

/// One change to a request's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Replaces all values.
    Set(HeaderName, HeaderValue),
    /// Joins a comma-separated list, unless the list has it.
    AddToList(HeaderName, HeaderValue),
    /// Stands only where the client sent none.
    IfAbsent(HeaderName, HeaderValue),
}

impl HeaderEdit {
    fn apply(&self, headers: &mut HeaderMap) {
        match self {
            Self::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            Self::IfAbsent(name, value) => {
                if let Entry::Vacant(entry) = headers.entry(name) {
                    entry.insert(value.clone());
                }
            }
            Self::AddToList(name, value) => {
                let present = headers.get_all(name).iter().flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
                let has = present.map(<[u8]>::trim_ascii).any(|item| item == value.as_bytes());
                if !has {
                    let joined =
                        headers.get_all(name).iter().map(HeaderValue::as_bytes).chain([value.as_bytes()]).collect::<Vec<_>>().join(&b',');
                    // Parts of valid values joined by a comma are a valid value; should that fail, the fixed part alone is.
                    headers.insert(name, HeaderValue::from_bytes(&joined).unwrap_or_else(|_invalid| value.clone()));
                }
            }
        }
    }
}

/// How a credential is written into a request. Its header values are marked sensitive.
#[derive(Debug)]
pub enum Authorization {
    /// As headers.
    Headers(Vec<HeaderEdit>),
    /// As a signature of each request.
    Sign(Arc<dyn Signer>),
    /// Not at all: it is yet to be had.
    Awaited,
}

/// The revision of a cell that has ended: later than any other, so that nothing is published into it again.
const RETIRED: GrantRevision = GrantRevision(u64::MAX);

/// A credential as it stands now.
pub struct LiveGrant {
    revision: GrantRevision,
    authorization: Authorization,
    query: Vec<(String, String)>,
}

impl LiveGrant {
    /// Wraps a credential that is on disk under `revision`.
    pub fn new(revision: GrantRevision, authorization: Authorization, query: Vec<(String, String)>) -> Self {
        Self { revision, authorization, query }
    }

    /// What stands in a cell that has ended.
    fn retired() -> Self {
        Self::new(RETIRED, Authorization::Headers(Vec::new()), Vec::new())
    }

    /// What stands in a cell whose credential is yet to be had. Every lease of it is superseded.
    pub fn awaited(revision: GrantRevision) -> Self {
        Self::new(revision, Authorization::Awaited, Vec::new())
    }

    /// The revision of the secret.
    pub fn revision(&self) -> GrantRevision {
        self.revision
    }

    /// Query parameters that must be present.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }
}

impl std::fmt::Debug for LiveGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LiveGrant(revision {})", self.revision)
    }
}

/// Where the credential of one account stands now; replaced when it rotates.
#[derive(Debug)]
pub struct LiveCell(ArcSwap<LiveGrant>);

impl LiveCell {
    /// A cell with its first credential.
    pub fn new(live: LiveGrant) -> Self {
        Self(ArcSwap::from_pointee(live))
    }

    /// A cell that no credential ever stands in: that of an account that cannot serve.
    pub fn ended() -> Self {
        Self::new(LiveGrant::retired())
    }

    /// Publishes a credential that is on disk, unless a newer one stands here already.
    pub fn publish(&self, live: LiveGrant) {
        let live = Arc::new(live);
        self.0.rcu(|current| if current.revision > live.revision { Arc::clone(current) } else { Arc::clone(&live) });
    }

    /// Ends the cell: the account was removed, switched off or given another grant. Leases in hand are superseded, and none follows.
    pub fn retire(&self) {
        self.0.store(Arc::new(LiveGrant::retired()));
    }

    /// The credential as it stands now.
    pub fn current(&self) -> Arc<LiveGrant> {
        self.0.load_full()
    }

    /// The revision as it stands now.
    pub fn revision(&self) -> GrantRevision {
        self.0.load().revision
    }
}

/// What an attempt was made with.
#[derive(Debug, Clone)]
pub struct AttemptFacts {
    /// The account.
    pub account: AccountId,
    /// Its grant.
    pub grant: GrantId,
    /// The revision of the secret that was sent.
    pub revision: GrantRevision,
    /// The kind of credential.
    pub kind: CredentialKind,
    /// The provider.
    pub provider: Arc<ProviderProfile>,
    /// The conversation.
    pub session: Option<SessionHash>,
    /// The proxy through which it goes; `None` dials directly.
    pub proxy: Option<ProxyUrl>,
    /// Where it goes instead of the provider's base, for an account to which the provider gave a host of its own. It is one of
    /// the origins to which the credential may go.
    pub origin: Option<Arc<Origin>>,
}

impl AttemptFacts {
    /// Where it goes.
    pub fn target(&self) -> &Origin {
        self.origin.as_deref().unwrap_or(&self.provider.base.origin)
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It was seen to the answer.
    Seen(Class),
    /// It was dropped before anything was known.
    Abandoned,
}

/// Hears what came of attempts. Called on the request's task: it must not wait.
pub trait AttemptSink: Send + Sync + std::fmt::Debug {
    /// The head of its answer came. Before [`AttemptSink::ended`], and not at all where no answer came.
    fn answered(&self, _facts: &AttemptFacts, _status: StatusCode, _headers: &HeaderMap) {}

    /// An attempt ended.
    fn ended(&self, facts: &AttemptFacts, report: &Report);
}

/// Why a lease wrote nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// Lease again.
    #[error("the credential was rotated since it was leased")]
    Superseded,
    /// The credential signs requests, and the body of this one is not at hand.
    #[error("this account signs requests, and a body that was not read cannot be signed")]
    BodyUnread,
    /// The credential signs requests, and cannot sign this one.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}

/// The right to send one credential once. It holds no header text, cannot be copied, and ends with the question that it answers.
///
/// ```compile_fail
/// fn copy(lease: claviger_contract::Lease<'_>) { let second = lease.clone(); }
/// ```
/// ```compile_fail
/// struct Client { lease: claviger_contract::Lease<'static> }
/// fn keep(ask: &claviger_contract::Ask<'_>, lease: claviger_contract::Lease<'_>) -> Client { Client { lease } }
/// ```
/// ```compile_fail
/// fn twice(lease: claviger_contract::Lease<'_>, parts: &mut http::request::Parts) {
///     drop(lease.apply(parts));
///     drop(lease.apply(parts));
/// }
/// ```
/// ```compile_fail
/// fn print(lease: claviger_contract::Lease<'_>) { println!("{lease}"); }
/// ```
/// The same shape compiles where it is used as meant:
/// ```
/// fn once(lease: claviger_contract::Lease<'_>, parts: &mut http::request::Parts) {
///     drop(lease.apply(parts));
/// }
/// ```
pub struct Lease<'ask> {
    facts: AttemptFacts,
    cell: Arc<LiveCell>,
    allowed: Arc<BTreeSet<Origin>>,
    sink: Arc<dyn AttemptSink>,
    ask: PhantomData<&'ask ()>,
}

impl Lease<'_> {
    /// For brokers: leases what stands in `cell` at `facts.revision`.
    pub fn new(facts: AttemptFacts, cell: Arc<LiveCell>, allowed: Arc<BTreeSet<Origin>>, sink: Arc<dyn AttemptSink>) -> Self {
        Self { facts, cell, allowed, sink, ask: PhantomData }
    }

    /// What the attempt will be made with.
    pub fn facts(&self) -> &AttemptFacts {
        &self.facts
    }

    /// Writes the credential into a request whose client credentials were removed.
    ///
    /// The revision is compared with the live one at this moment: a lease held across a rotation is
    /// [`NotApplied::Superseded`] and writes nothing. So is one that was taken from a cell that had ended by then. A credential
    /// that signs needs the body too: see [`Lease::apply_to`].
    pub fn apply(self, parts: &mut request::Parts) -> Result<Attempt, NotApplied> {
        self.apply_to(parts, Content::Unread)
    }

    /// Writes the credential into a request, or signs it together with its body. The same holds as for [`Lease::apply`].
    pub fn apply_to(self, parts: &mut request::Parts, content: Content<'_>) -> Result<Attempt, NotApplied> {
        let live = self.cell.0.load();
        if live.revision != self.facts.revision || live.revision == RETIRED {
            return Err(NotApplied::Superseded);
        }
        match (&live.authorization, content) {
            (Authorization::Awaited, _) => return Err(NotApplied::Superseded),
            (Authorization::Sign(_), Content::Unread) => return Err(NotApplied::BodyUnread),
            (Authorization::Headers(edits), _) => {
                for edit in edits {
                    edit.apply(&mut parts.headers);
                }
                add_query(parts, &live.query);
            }
            (Authorization::Sign(signer), Content::Whole { body, now }) => {
                add_query(parts, &live.query);
                signer.sign(parts, self.facts.target(), body, now)?;
            }
        }
        Ok(Attempt { facts: self.facts, allowed: self.allowed, sink: Some(self.sink) })
    }
}

impl std::fmt::Debug for Lease<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease(account {}, revision {})", self.facts.account, self.facts.revision)
    }
}

/// Adds parameters that the client did not send.
fn add_query(parts: &mut request::Parts, wanted: &[(String, String)]) {
    for (name, value) in wanted {
        let query = parts.uri.query().unwrap_or_default();
        let present = query.split('&').any(|pair| pair.split('=').next() == Some(name.as_str()));
        if present {
            continue;
        }
        let path = parts.uri.path();
        let joined = if query.is_empty() { format!("{path}?{name}={value}") } else { format!("{path}?{query}&{name}={value}") };
        if let Ok(path_and_query) = joined.parse() {
            let mut uri = std::mem::take(&mut parts.uri).into_parts();
            uri.path_and_query = Some(path_and_query);
            parts.uri = http::Uri::from_parts(uri).unwrap_or_default();
        }
    }
}

/// A credential that was written into a request. Reported once; dropped, it reports [`Report::Abandoned`].
pub struct Attempt {
    facts: AttemptFacts,
    allowed: Arc<BTreeSet<Origin>>,
    sink: Option<Arc<dyn AttemptSink>>,
}

impl Attempt {
    /// What it was made with.
    pub fn facts(&self) -> &AttemptFacts {
        &self.facts
    }

    /// Where the request may go.
    pub fn allowed(&self) -> &Arc<BTreeSet<Origin>> {
        &self.allowed
    }

    /// Says what the head of its answer holds, before it is known what it means: providers tell there what is left. Never waits.
    pub fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(sink) = &self.sink {
            sink.answered(&self.facts, status, headers);
        }
    }

    /// Says what came of it.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt ends once, and so does what is said of it")]
    pub fn finish(mut self, report: Report) {
        if let Some(sink) = self.sink.take() {
            sink.ended(&self.facts, &report);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.ended(&self.facts, &Report::Abandoned);
        }
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt(account {}, revision {})", self.facts.account, self.facts.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edit: &HeaderEdit, sent: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        edit.apply(&mut headers);
        headers.get_all("x-list").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_list_gets_an_item_once_and_keeps_what_the_client_sent() {
        let edit = HeaderEdit::AddToList(HeaderName::from_static("x-list"), HeaderValue::from_static("b"));
        assert_eq!(edited(&edit, &[]), ["b"]);
        assert_eq!(edited(&edit, &[("x-list", "a")]), ["a,b"]);
        assert_eq!(edited(&edit, &[("x-list", "a, b")]), ["a, b"]);
        assert_eq!(edited(&edit, &[("x-list", "a"), ("x-list", "c")]), ["a,c,b"]);
    }

    #[test]
    fn set_replaces_all_values_and_if_absent_none() {
        let name = HeaderName::from_static("x-list");
        assert_eq!(edited(&HeaderEdit::Set(name.clone(), HeaderValue::from_static("z")), &[("x-list", "a"), ("x-list", "b")]), ["z"]);
        assert_eq!(edited(&HeaderEdit::IfAbsent(name, HeaderValue::from_static("z")), &[("x-list", "a")]), ["a"]);
    }

    #[test]
    fn a_query_parameter_that_the_client_sent_is_left_alone() {
        let parts = |uri: &str| http::Request::get(uri).body(()).unwrap().into_parts().0;
        let wanted = [("beta".to_owned(), "true".to_owned())];
        for (uri, expected) in [("/p", "/p?beta=true"), ("/p?a=1", "/p?a=1&beta=true"), ("/p?beta=false", "/p?beta=false")] {
            let mut parts = parts(uri);
            add_query(&mut parts, &wanted);
            assert_eq!(parts.uri.to_string(), expected);
        }
    }
}
