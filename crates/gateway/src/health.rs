//! The answers that need no key: whether this process lives, and whether it can serve.

use bytes::Bytes;
use claviger_contract::Routes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

/// The answer of a health route; `None` for any other path.
pub(crate) fn answer(method: &Method, path: &str, routes: &Routes) -> Option<Response<Bytes>> {
    let (status, content_type, body) = match path {
        "/readyz" if routes.providers.is_empty() => {
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no provider is configured\n".to_owned())
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
    if !matches!(*method, Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        *response.body_mut() = Bytes::new();
    }
    Some(response)
}
