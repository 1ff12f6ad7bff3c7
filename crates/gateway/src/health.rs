//! The answers that need no key: whether this process lives, and whether it can serve.

use bytes::Bytes;
use claviger_contract::{Broker, Readiness};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

/// The answer of a health route; `None` for any other path.
///
/// A degraded gateway is ready, since live tokens are served: only the body of `/readyz` says so, and names nobody.
pub(crate) fn answer(parts: &Parts, broker: &impl Broker) -> Option<Response<Bytes>> {
    let (status, content_type, body) = match parts.uri.path() {
        "/readyz" if let Some(refusal) = broker.closed() => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{refusal}\n")),
        "/readyz" if broker.routes().providers.is_empty() => {
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no provider is configured\n".to_owned())
        }
        "/readyz" if broker.readiness() == Readiness::Degraded => {
            (StatusCode::OK, "text/plain", "degraded: an account is in quarantine, see claviger status\n".to_owned())
        }
        "/livez" | "/readyz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/healthz" => {
            let health = serde_json::json!({ "ok": true, "version": env!("CARGO_PKG_VERSION") });
            (StatusCode::OK, "application/json", health.to_string())
        }
        _ => return None,
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        *response.body_mut() = Bytes::new();
    }
    Some(response)
}
