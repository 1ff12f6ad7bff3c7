//! Which provider a path means, and in which dialect its errors are written.

use crate::error::Fault;
use crate::path::{VersionPrefix, is_safe};
use claviger_contract::Routes;
use claviger_domain::profile::{Dialect, HeaderMode, ProviderProfile};
use http::header::UPGRADE;
use http::{HeaderMap, Method, request};
use std::sync::Arc;

/// Longest part of an unknown provider's name that is repeated to the client.
const NAME_SHOWN_MAX_CHARS: usize = 64;

/// Where a request wants to go.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The dialect of our own errors.
    pub(crate) dialect: Dialect,
    /// The path that is appended to the provider's base.
    pub(crate) path: &'a str,
    /// The provider, or how it is found.
    pub(crate) to: Destination,
}

/// The provider of a request.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Named by the path.
    Provider(Arc<ProviderProfile>),
    /// The one for the model, else the dialect's default.
    Chosen,
}

impl Destination {
    /// How a version at the start of the path meets the provider's base.
    pub(crate) fn version_prefix(&self) -> VersionPrefix {
        match self {
            Self::Provider(_) => VersionPrefix::Kept,
            Self::Chosen => VersionPrefix::ImpliedByBase,
        }
    }
}

/// Finds the target of a request. The dialect is known even where the target is refused.
pub(crate) fn find<'a>(routes: &Routes, parts: &'a request::Parts) -> (Dialect, Result<Target<'a>, Fault>) {
    let path = parts.uri.path();
    let spoken = dialect_of(path);
    let dialect = spoken.unwrap_or(Dialect::Chat);
    if let Err(fault) = check(&parts.method, path, &parts.headers) {
        return (dialect, Err(fault));
    }
    let own = |dialect| (dialect, Ok(Target { dialect, path, to: Destination::Chosen }));
    let (first, rest) = split(path);
    match first {
        "v1beta" => own(Dialect::Generate),
        "v1" => match rest {
            "/models" => own(models_dialect(routes, &parts.headers)),
            _ if rest.starts_with("/models/") => own(models_dialect(routes, &parts.headers)),
            _ => spoken.filter(|_| is_dialect_route(rest)).map_or((dialect, Err(Fault::RouteUnknown)), own),
        },
        _ => match routes.provider(first) {
            Some(profile) => {
                let dialect = spoken.or_else(|| profile.dialects.first().copied()).unwrap_or(Dialect::Chat);
                (dialect, Ok(Target { dialect, path: rest, to: Destination::Provider(Arc::clone(profile)) }))
            }
            None if first.is_empty() => (dialect, Err(Fault::RouteUnknown)),
            None => (dialect, Err(Fault::ProviderUnknown { name: first.chars().take(NAME_SHOWN_MAX_CHARS).collect() })),
        },
    }
}

fn check(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Fault> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Fault::MethodRefused);
    }
    if !is_safe(path) {
        return Err(Fault::PathRefused);
    }
    let wants_socket = headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if wants_socket { Err(Fault::WebSocket) } else { Ok(()) }
}

/// The first segment and the rest, which is empty or starts with `/`.
fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_at_checked(path.find('/').unwrap_or(path.len())).unwrap_or((path, ""))
}

/// What stands after `/v1` on the route of a dialect.
fn is_dialect_route(rest: &str) -> bool {
    ["/messages", "/chat/completions", "/embeddings", "/responses"]
        .into_iter()
        .filter_map(|route| rest.strip_prefix(route))
        .any(|after| after.is_empty() || after.starts_with('/'))
}

/// The dialect that a path gives away, whatever stands before its operation.
fn dialect_of(path: &str) -> Option<Dialect> {
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "messages" => return Some(Dialect::Messages),
            "responses" => return Some(Dialect::Responses),
            "embeddings" => return Some(Dialect::Chat),
            "chat" if segments.peek() == Some(&"completions") => return Some(Dialect::Chat),
            "v1beta" => return Some(Dialect::Generate),
            _ => {}
        }
    }
    None
}

/// The list of models has one path in two dialects. A client of the messages dialect names the version that it speaks, in
/// the header that the dialect's provider asks for; who does not is a client of the chat dialect.
fn models_dialect(routes: &Routes, headers: &HeaderMap) -> Dialect {
    let names_version = |profile: &Arc<ProviderProfile>| {
        let extra = profile.api_key.iter().flat_map(|wire| &wire.extra);
        let mut version_headers = extra.filter(|rule| rule.mode == HeaderMode::IfAbsent && rule.name.as_str().ends_with("-version"));
        version_headers.any(|rule| headers.contains_key(&rule.name))
    };
    if routes.choose(Dialect::Messages, None).is_some_and(names_version) { Dialect::Messages } else { Dialect::Chat }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> (Dialect, String) {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let (dialect, target) = find(&Routes::default(), &parts);
        (dialect, target.map_or_else(|fault| format!("{fault:?}"), |target| target.path.to_owned()))
    }

    #[test]
    fn every_dialect_has_its_routes_and_their_sub_paths() {
        for (uri, dialect) in [
            ("/v1/messages?beta=true", Dialect::Messages),
            ("/v1/messages/count_tokens", Dialect::Messages),
            ("/v1/chat/completions", Dialect::Chat),
            ("/v1/embeddings", Dialect::Chat),
            ("/v1/responses", Dialect::Responses),
            ("/v1/responses/resp_1/input_items", Dialect::Responses),
            ("/v1beta/models/m:streamGenerateContent?alt=sse", Dialect::Generate),
            ("/v1beta/models", Dialect::Generate),
            ("/v1/models", Dialect::Chat),
            ("/v1/models/a%2Fb", Dialect::Chat),
        ] {
            assert_eq!(found("POST", uri, &[]), (dialect, uri.split('?').next().unwrap().to_owned()), "{uri}");
        }
    }

    #[test]
    fn what_is_no_route_is_said_in_the_dialect_of_the_path() {
        assert_eq!(found("POST", "/v1/files", &[]), (Dialect::Chat, "RouteUnknown".to_owned()));
        assert_eq!(found("POST", "/v1/responsesx", &[]), (Dialect::Chat, "RouteUnknown".to_owned()));
        assert_eq!(found("POST", "/", &[]).1, "RouteUnknown");
        assert_eq!(found("POST", "/nobody/v1/messages", &[]), (Dialect::Messages, "ProviderUnknown { name: \"nobody\" }".to_owned()));
    }

    #[test]
    fn climbing_paths_foreign_methods_and_web_sockets_are_refused_before_anything_is_looked_up() {
        assert_eq!(found("GET", "/x/%2e%2e/v1", &[]).1, "PathRefused");
        assert_eq!(found("TRACE", "/v1/messages", &[]).1, "MethodRefused");
        assert_eq!(found("GET", "/v1/responses", &[("upgrade", "WebSocket")]), (Dialect::Responses, "WebSocket".to_owned()));
    }
}
