//! Everything that the gateway itself answers instead of a provider, in the shape of the route's dialect.

use bytes::Bytes;
use claviger_contract::{Denial, Refusal};
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
            | Self::MethodRefused
            | Self::WebSocket
            | Self::BodyStalled => Kind::Invalid,
            Self::RouteUnknown | Self::ProviderUnknown { .. } | Self::DialectWithoutProvider { .. } => Kind::NotFound,
            Self::KeyMissing | Self::KeyDamaged => Kind::Unauthenticated,
            Self::CredentialRefused { status, .. } if *status == StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
            Self::Refused(refusal) => refusal_kind(refusal),
            Self::BodyTooLarge { .. } => Kind::TooLarge,
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
                Refusal::AllBlocked { retry_at, .. } | Refusal::OverLimit { retry_at, .. } | Refusal::Unavailable { retry_at, .. },
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
        let message = format!("{} ({request})", self.message());
        let kind = self.kind();
        let body = match dialect {
            Dialect::Messages => {
                let error = MessagesError { r#type: kind.messages_word(), message };
                serde_json::to_vec(&MessagesBody { r#type: "error", error, request_id: request.to_string() })
            }
            Dialect::Chat | Dialect::Responses => {
                serde_json::to_vec(&Body { error: ChatError { message, r#type: kind.chat_word(), code: self.code() } })
            }
            Dialect::Generate => {
                serde_json::to_vec(&Body { error: GenerateError { code: status.as_u16(), message, status: kind.generate_word() } })
            }
        };
        // Strings and a number are always JSON.
        let mut response = Response::new(Bytes::from(body.unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        name_request(headers, request);
        for name in ["request-id", "x-request-id"] {
            headers.insert(name, id_value(request));
        }
        if let Some(at) = self.retry_at() {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s(at.until(now))));
        }
        response
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

/// Whole seconds, rounded up, at least one: a client that comes back early is refused again.
fn retry_after_s(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn refusal_kind(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::NoCredential { .. }
        | Refusal::NeedsLogin { .. }
        | Refusal::OriginChanged { .. }
        | Refusal::Denied(Denial::Provider { .. }) => Kind::Forbidden,
        Refusal::AllBlocked { .. } | Refusal::OverLimit { .. } => Kind::Limited,
        Refusal::Denied(Denial::Unknown | Denial::Revoked | Denial::Expired) => Kind::Unauthenticated,
        Refusal::Unavailable { .. } => Kind::Unavailable,
    }
}

fn refusal_code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoCredential { .. } => "no_credential",
        Refusal::AllBlocked { .. } => "all_blocked",
        Refusal::NeedsLogin { .. } => "needs_login",
        Refusal::OriginChanged { .. } => "origin_changed",
        Refusal::Denied(Denial::Unknown) => "virtual_key_unknown",
        Refusal::Denied(Denial::Revoked) => "virtual_key_revoked",
        Refusal::Denied(Denial::Expired) => "virtual_key_expired",
        Refusal::Denied(Denial::Provider { .. }) => "provider_denied",
        Refusal::OverLimit { .. } => "over_limit",
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
}
