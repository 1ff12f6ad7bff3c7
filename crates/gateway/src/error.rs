//! Everything that the gateway itself answers instead of a provider, in the shape of the route's dialect.

use bytes::Bytes;
use claviger_contract::{Denial, NotApplied, Refusal};
use claviger_domain::id::{ProviderId, RequestId};
use claviger_domain::profile::Dialect;
use claviger_domain::time::Timestamp;
use claviger_egress::EgressError;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use std::time::Duration;

/// The header that names a request in every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-claviger-request-id");

/// Whether the client shall repeat the request by itself: a header that SDKs and agents obey, though no standard knows it.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The longest wait that a client is left to sit out. Some clients wait silently for as long as `Retry-After` says, be it
/// hours, where a person should learn that nothing comes; others wait up to a minute.
const WAIT_SAT_OUT_MAX: Duration = Duration::from_mins(1);

/// Why the gateway answers itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The client's.
    #[error("the request needs exactly one Host header")]
    HostMissing,
    /// The client's, or a name that points here and should not.
    #[error("this gateway does not answer under the host name of this request; more names are a matter of its configuration")]
    HostRefused,
    /// The client's.
    #[error("the target of the request and its Host header name different hosts")]
    HostMismatch,
    /// A web page's.
    #[error("requests from web pages of another origin are refused")]
    OriginRefused,
    /// The client's.
    #[error("the path is refused: it climbs, or holds control characters")]
    PathRefused,
    /// The client's.
    #[error("the method is not allowed here")]
    MethodRefused,
    /// The client's; it falls back to a plain POST.
    #[error("web sockets are not served here: send a POST")]
    WebSocket,
    /// The client's.
    #[error("no such route: use /{{provider}}/{{path}}, or the route of a dialect such as /v1/chat/completions")]
    RouteUnknown,
    /// The client's, or a provider is missing in the configuration.
    #[error("no provider {name:?} is known here")]
    ProviderUnknown {
        /// What was asked for, shortened.
        name: String,
    },
    /// The configuration's.
    #[error("no provider is set for the dialect {}", .dialect.as_str())]
    DialectWithoutProvider {
        /// The dialect.
        dialect: Dialect,
    },
    /// The client's.
    #[error("no virtual key in this request: create one with `claviger key create` and send it as the API key")]
    KeyMissing,
    /// The client's.
    #[error("the virtual key is damaged: its checksum does not fit; `claviger key create` makes a new one")]
    KeyDamaged,
    /// The client's.
    #[error("two different virtual keys in one request: send one")]
    KeysDiffer,
    /// The broker's word.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client's.
    #[error("the request body is larger than {max_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// The client's, or too many large requests are under way.
    #[error(
        "this account signs its requests, and the body of this one is not kept whole: up to {max_bytes} bytes can be signed, and less while many large requests are under way"
    )]
    BodyUnsignable {
        /// The limit of one request.
        max_bytes: usize,
    },
    /// The client's.
    #[error("the request cannot be signed")]
    Unsignable(#[source] NotApplied),
    /// The client's.
    #[error("the request body stood still for too long")]
    BodyStalled,
    /// The client's: it cannot even be told, in most cases.
    #[error("the request body ended early")]
    BodyBroken(#[source] hyper::Error),
    /// The credential's: the provider refused it, and nothing else was left to try. The provider's own body is not passed
    /// on, since it may echo the credential.
    #[error("{provider} answered {status} to the account in use: see `claviger account list`")]
    CredentialRefused {
        /// The provider.
        provider: ProviderId,
        /// What it answered, which the client gets.
        status: StatusCode,
    },
    /// The network's or the provider's.
    #[error("{provider} cannot be reached")]
    Unreachable {
        /// The provider.
        provider: ProviderId,
        /// Why.
        source: EgressError,
    },
    /// The network's or the provider's. The request may have been carried out.
    #[error("the connection to {provider} was lost before it answered")]
    Lost {
        /// The provider.
        provider: ProviderId,
        /// Why.
        source: EgressError,
    },
    /// The provider's. The request may have been carried out.
    #[error("{provider} did not answer within {} s", .after.as_secs())]
    AnswerLate {
        /// The provider.
        provider: ProviderId,
        /// The limit.
        after: Duration,
    },
}

#[derive(Serialize)]
struct Body<E> {
    error: E,
}

#[derive(Serialize)]
struct MessagesBody {
    r#type: &'static str,
    error: MessagesError,
    request_id: String,
}

#[derive(Serialize)]
struct MessagesError {
    r#type: &'static str,
    message: String,
}

#[derive(Serialize)]
struct ChatError {
    message: String,
    r#type: &'static str,
    code: &'static str,
    #[serde(flatten)]
    reset: Option<Reset>,
}

/// When a used-up limit comes back, as the responses dialect says it.
#[derive(Serialize)]
struct Reset {
    /// In seconds since the epoch.
    resets_at: i64,
    resets_in_seconds: u64,
}

#[derive(Serialize)]
struct GenerateError {
    code: u16,
    message: String,
    status: &'static str,
}

/// The kinds of errors that all dialects have a word for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    TooLarge,
    Limited,
    Upstream,
    Unavailable,
    Late,
}

impl Fault {
    /// What a client is told of a request that a credential did not sign.
    pub(crate) fn unsigned(why: NotApplied, max_bytes: usize) -> Self {
        if why == NotApplied::BodyUnread { Self::BodyUnsignable { max_bytes } } else { Self::Unsignable(why) }
    }

    /// The status that the client gets. A credential that only a person can mend is 403, which agents report at once; 401 is
    /// kept for the client's own key, since some agents retry it for minutes.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::WebSocket => StatusCode::UPGRADE_REQUIRED,
            Self::BodyStalled => StatusCode::REQUEST_TIMEOUT,
            Self::CredentialRefused { status, .. } => *status,
            _ => match self.kind() {
                Kind::Invalid => StatusCode::BAD_REQUEST,
                Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
                Kind::Forbidden => StatusCode::FORBIDDEN,
                Kind::NotFound => StatusCode::NOT_FOUND,
                Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
                Kind::Upstream => StatusCode::BAD_GATEWAY,
                Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Late => StatusCode::GATEWAY_TIMEOUT,
            },
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::HostMissing
            | Self::HostMismatch
            | Self::PathRefused
            | Self::KeysDiffer
            | Self::BodyBroken(_)
            | Self::Unsignable(_)
            | Self::MethodRefused
            | Self::WebSocket
            | Self::BodyStalled => Kind::Invalid,
            Self::RouteUnknown | Self::ProviderUnknown { .. } | Self::DialectWithoutProvider { .. } => Kind::NotFound,
            Self::KeyMissing | Self::KeyDamaged => Kind::Unauthenticated,
            Self::CredentialRefused { status, .. } if *status == StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
            Self::Refused(refusal) => refusal_kind(refusal),
            Self::BodyTooLarge { .. } | Self::BodyUnsignable { .. } => Kind::TooLarge,
            Self::HostRefused | Self::OriginRefused | Self::CredentialRefused { .. } => Kind::Forbidden,
            Self::Unreachable { .. } | Self::Lost { .. } => Kind::Upstream,
            Self::AnswerLate { .. } => Kind::Late,
        }
    }

    /// A stable word for programs; documented, never renamed.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::HostMissing => "host_missing",
            Self::HostRefused => "host_refused",
            Self::HostMismatch => "host_mismatch",
            Self::OriginRefused => "origin_refused",
            Self::PathRefused => "path_refused",
            Self::MethodRefused => "method_refused",
            Self::WebSocket => "websocket_not_served",
            Self::RouteUnknown => "route_unknown",
            Self::ProviderUnknown { .. } => "provider_unknown",
            Self::DialectWithoutProvider { .. } => "dialect_without_provider",
            Self::KeyMissing => "virtual_key_missing",
            Self::KeyDamaged => "virtual_key_damaged",
            Self::KeysDiffer => "virtual_keys_differ",
            Self::Refused(refusal) => refusal_code(refusal),
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyUnsignable { .. } => "body_unsignable",
            Self::Unsignable(_) => "request_unsignable",
            Self::BodyStalled => "body_stalled",
            Self::BodyBroken(_) => "body_broken",
            Self::CredentialRefused { .. } => "credential_refused",
            Self::Unreachable { .. } => "provider_unreachable",
            Self::Lost { .. } => "provider_lost",
            Self::AnswerLate { .. } => "provider_late",
        }
    }

    fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Refused(
                Refusal::AllBlocked { retry_at, .. }
                | Refusal::OverLimit { retry_at, .. }
                | Refusal::Sealed { retry_at, .. }
                | Refusal::Unavailable { retry_at, .. },
            ) => Some(*retry_at),
            _ => None,
        }
    }

    /// What people read.
    fn message(&self) -> String {
        match self {
            Self::Refused(Refusal::Denied(Denial::Unknown | Denial::Revoked | Denial::Expired)) => {
                format!("{self}: create one with `claviger key create`")
            }
            _ => self.to_string(),
        }
    }

    /// The whole answer. The id stands in the message too, since people see messages and not headers.
    pub(crate) fn render(&self, dialect: Dialect, request: RequestId, now: Timestamp) -> Response<Bytes> {
        let status = self.status();
        let wait = self.retry_at().map(|at| at.until(now));
        let mut response = Response::new(self.body(dialect, request, wait));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        name_request(headers, request);
        for name in ["request-id", "x-request-id"] {
            headers.insert(name, id_value(request));
        }
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s(wait)));
        }
        // A key or a credential that was refused is refused again; a client that can fetch another key does so all the same. A
        // quarantine lasts until a person ends it.
        let lasts = matches!(self, Self::Refused(Refusal::Quarantined { .. })) || wait.is_some_and(is_long);
        if status == StatusCode::UNAUTHORIZED || lasts {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }

    /// What is wrong, in the words by which clients of the dialect tell a long wait, which they report, from a short one.
    fn body(&self, dialect: Dialect, request: RequestId, wait: Option<Duration>) -> Bytes {
        let kind = self.kind();
        let long = wait.filter(|wait| kind == Kind::Limited && is_long(*wait));
        let message = match (dialect, long) {
            (Dialect::Generate, Some(wait)) => format!("{}. Please retry in {}s ({request})", self.message(), retry_after_s(wait)),
            _ => format!("{} ({request})", self.message()),
        };
        let written = match dialect {
            Dialect::Messages => {
                let error = MessagesError { r#type: kind.messages_word(), message };
                serde_json::to_vec(&MessagesBody { r#type: "error", error, request_id: request.to_string() })
            }
            Dialect::Chat | Dialect::Responses => {
                let (word, reset) = match (dialect, self.retry_at().zip(long)) {
                    (Dialect::Responses, Some((at, wait))) => ("usage_limit_reached", Some(Reset::new(at, wait))),
                    (_, Some(_)) => ("insufficient_quota", None),
                    (_, None) => (kind.chat_word(), None),
                };
                serde_json::to_vec(&Body { error: ChatError { message, r#type: word, code: self.code(), reset } })
            }
            Dialect::Generate => {
                let error = GenerateError { code: self.status().as_u16(), message, status: kind.generate_word() };
                serde_json::to_vec(&Body { error })
            }
        };
        // Strings and numbers are always JSON.
        Bytes::from(written.unwrap_or_default())
    }
}

impl Reset {
    fn new(at: Timestamp, wait: Duration) -> Self {
        Self { resets_at: at.as_secs(), resets_in_seconds: retry_after_s(wait) }
    }
}

/// Writes the id of a request into its answer, over whatever stood there.
pub(crate) fn name_request(headers: &mut HeaderMap, request: RequestId) {
    headers.insert(REQUEST_ID, id_value(request));
}

fn id_value(request: RequestId) -> HeaderValue {
    // Letters, digits and an underscore are a valid value.
    HeaderValue::from_str(&request.to_string()).unwrap_or_else(|_invalid| HeaderValue::from_static("req"))
}

/// Whether a person should hear of a wait, instead of a client sitting it out.
fn is_long(wait: Duration) -> bool {
    wait > WAIT_SAT_OUT_MAX
}

/// Whole seconds, rounded up, at least one: a client that comes back early is refused again.
fn retry_after_s(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn refusal_kind(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::NoCredential { .. }
        | Refusal::NeedsLogin { .. }
        | Refusal::OwnClientOnly { .. }
        | Refusal::OriginChanged { .. }
        | Refusal::Denied(Denial::Provider { .. }) => Kind::Forbidden,
        Refusal::AllBlocked { .. } | Refusal::OverLimit { .. } => Kind::Limited,
        Refusal::Denied(Denial::Unknown | Denial::Revoked | Denial::Expired) => Kind::Unauthenticated,
        Refusal::Quarantined { .. } | Refusal::Sealed { .. } | Refusal::Unavailable { .. } => Kind::Unavailable,
    }
}

fn refusal_code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoCredential { .. } => "no_credential",
        Refusal::AllBlocked { .. } => "all_blocked",
        Refusal::NeedsLogin { .. } => "needs_login",
        Refusal::OwnClientOnly { .. } => "own_client_only",
        Refusal::OriginChanged { .. } => "origin_changed",
        Refusal::Quarantined { .. } => "quarantined",
        Refusal::Denied(Denial::Unknown) => "virtual_key_unknown",
        Refusal::Denied(Denial::Revoked) => "virtual_key_revoked",
        Refusal::Denied(Denial::Expired) => "virtual_key_expired",
        Refusal::Denied(Denial::Provider { .. }) => "provider_denied",
        Refusal::OverLimit { .. } => "over_limit",
        Refusal::Sealed { .. } => "sealed",
        Refusal::Unavailable { .. } => "unavailable",
    }
}

impl Kind {
    const fn messages_word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request_error",
            Self::Unauthenticated => "authentication_error",
            Self::Forbidden => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::Limited => "rate_limit_error",
            Self::Upstream => "api_error",
            Self::Unavailable => "overloaded_error",
            Self::Late => "timeout_error",
        }
    }

    const fn chat_word(self) -> &'static str {
        match self {
            Self::Invalid | Self::NotFound | Self::TooLarge => "invalid_request_error",
            Self::Unauthenticated => "authentication_error",
            Self::Forbidden => "permission_error",
            Self::Limited => "rate_limit_error",
            Self::Upstream | Self::Unavailable | Self::Late => "server_error",
        }
    }

    const fn generate_word(self) -> &'static str {
        match self {
            Self::Invalid | Self::TooLarge => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::Limited => "RESOURCE_EXHAUSTED",
            Self::Upstream | Self::Unavailable => "UNAVAILABLE",
            Self::Late => "DEADLINE_EXCEEDED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_never_zero() {
        for (wait_ms, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(retry_after_s(Duration::from_millis(wait_ms)), expected, "{wait_ms} ms");
        }
    }

    #[test]
    fn a_quarantine_is_told_with_its_remedy_and_is_not_waited_for() {
        let provider = ProviderId::new("some").unwrap();
        let fault = Fault::Refused(Refusal::Quarantined { provider, account: claviger_domain::id::AccountId(3) });
        for dialect in [Dialect::Messages, Dialect::Chat, Dialect::Responses, Dialect::Generate] {
            let response = fault.render(dialect, RequestId(7), Timestamp::from_secs(1_000_000));
            assert_eq!((response.status().as_u16(), fault.code()), (503, "quarantined"));
            assert_eq!(response.headers()["x-should-retry"], "false");
            assert!(!response.headers().contains_key("retry-after"));
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert!(body["error"]["message"].as_str().unwrap().contains("claviger account take 3"), "{body}");
        }
    }

    #[test]
    fn a_long_wait_is_said_in_words_that_stop_clients_and_a_short_one_is_left_to_them() {
        let now = Timestamp::from_secs(1_000_000);
        let provider = ProviderId::new("some").unwrap();
        let refused =
            |wait_s| Fault::Refused(Refusal::AllBlocked { provider: provider.clone(), retry_at: now.plus(Duration::from_secs(wait_s)) });
        let shown = |wait_s, dialect| {
            let response = refused(wait_s).render(dialect, RequestId(7), now);
            let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(header("retry-after"), Some(wait_s.to_string()));
            (response.status().as_u16(), header("x-should-retry"), body["error"].clone())
        };
        let no = || Some("false".to_owned());
        for (dialect, word) in
            [(Dialect::Messages, "rate_limit_error"), (Dialect::Chat, "insufficient_quota"), (Dialect::Responses, "usage_limit_reached")]
        {
            let (status, should_retry, error) = shown(3600, dialect);
            assert_eq!((status, should_retry, error["type"].as_str()), (429, no(), Some(word)));
            let (status, should_retry, error) = shown(60, dialect);
            assert_eq!((status, should_retry, error["type"].as_str()), (429, None, Some("rate_limit_error")));
            assert_eq!(error.get("resets_at"), None);
        }
        let (_, _, error) = shown(3600, Dialect::Responses);
        assert_eq!(
            (&error["code"], &error["resets_at"], &error["resets_in_seconds"]),
            (&"all_blocked".into(), &1_003_600.into(), &3600.into())
        );
        let (_, should_retry, error) = shown(3600, Dialect::Generate);
        assert_eq!(should_retry, no());
        assert!(error["message"].as_str().unwrap().contains(". Please retry in 3600s (req_"), "{error}");
    }
}
