//! Which path means which dialect and operation, and which module answers it.

use bytes::Bytes;
use http::{Method, Uri};

use super::{Call, Refusal, chat, generate, messages, responses};
use crate::reply::Reply;

/// The API shape that a request speaks, which is also the shape of its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Anthropic's Messages.
    Messages,
    /// OpenAI's Chat Completions, and what else OpenAI serves in that style.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Responses behind ChatGPT's own path: the same success, errors and limits of its own.
    Codex,
    /// Google's generateContent.
    Generate,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Text.
    Text,
    /// Text as server-sent events, because the path says so.
    TextEvents,
    /// Text as an array that grows, because the path says so.
    TextArray,
    CountTokens,
    Models,
    Embeddings,
    /// A WebSocket that this server does not speak.
    WebSocket,
}

impl Operation {
    /// Lists of models are asked for at start-up and would eat faults that are meant for a turn.
    pub(crate) fn takes_faults(self) -> bool {
        !matches!(self, Self::Models | Self::WebSocket)
    }
}

/// A path that this server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
    /// The model, where the path names it.
    pub(crate) model: Option<String>,
}

/// Prefixes in front of the OpenAI-like endings; each is one vendor's base path. Nothing else is accepted, so that a
/// doubled prefix is seen as 404.
const OPENAI_PREFIXES: [&str; 5] = ["/v1", "/api/v1", "/coding/v1", "/openai/v1", ""];

/// Prefixes of ChatGPT's own endpoint for Codex.
const CODEX_PREFIXES: [&str; 2] = ["/backend-api/codex", "/codex"];

impl Route {
    /// Finds the route of a request; `has_header` tells the two vendors apart that share `/v1/models`.
    pub(crate) fn find(method: &Method, uri: &Uri, has_header: impl Fn(&str) -> bool) -> Option<Self> {
        let path = uri.path();
        let route = |dialect, operation| Some(Self { dialect, operation, model: None });
        if let Some(rest) = path.strip_prefix("/v1beta/models") {
            return Self::find_generate(method, rest, uri.query().unwrap_or_default());
        }
        for prefix in CODEX_PREFIXES {
            match (method.as_str(), path.strip_prefix(prefix)) {
                ("POST", Some("/responses")) => return route(Dialect::Codex, Operation::Text),
                ("GET", Some("/responses")) => return route(Dialect::Codex, Operation::WebSocket),
                ("GET", Some("/models")) => return route(Dialect::Codex, Operation::Models),
                _ => {}
            }
        }
        for prefix in OPENAI_PREFIXES {
            match (method.as_str(), path.strip_prefix(prefix)) {
                ("POST", Some("/messages")) => return route(Dialect::Messages, Operation::Text),
                ("POST", Some("/messages/count_tokens")) => {
                    return route(Dialect::Messages, Operation::CountTokens);
                }
                ("POST", Some("/chat/completions")) => {
                    return route(Dialect::Chat, Operation::Text);
                }
                ("POST", Some("/responses")) => return route(Dialect::Responses, Operation::Text),
                ("GET", Some("/responses")) => {
                    return route(Dialect::Responses, Operation::WebSocket);
                }
                ("POST", Some("/embeddings")) => {
                    return route(Dialect::Chat, Operation::Embeddings);
                }
                ("GET", Some("/models")) => {
                    let dialect = if has_header("anthropic-version") { Dialect::Messages } else { Dialect::Chat };
                    return route(dialect, Operation::Models);
                }
                _ => {}
            }
        }
        None
    }

    fn find_generate(method: &Method, rest: &str, query: &str) -> Option<Self> {
        if method == Method::GET && rest.is_empty() {
            return Some(Self { dialect: Dialect::Generate, operation: Operation::Models, model: None });
        }
        let (model, verb) = rest.strip_prefix('/')?.rsplit_once(':')?;
        let operation = match verb {
            "generateContent" => Operation::Text,
            "streamGenerateContent" if query.split('&').any(|pair| pair == "alt=sse") => Operation::TextEvents,
            "streamGenerateContent" => Operation::TextArray,
            "countTokens" => Operation::CountTokens,
            _ => return None,
        };
        (method == Method::POST).then(|| Self { dialect: Dialect::Generate, operation, model: Some(model.to_owned()) })
    }

    /// The good answer.
    pub(super) fn good(&self, call: &Call<'_>) -> Reply {
        if self.operation == Operation::WebSocket {
            return Reply::whole(426, "text/plain", "this server speaks no WebSocket").header("upgrade", "websocket");
        }
        match self.dialect {
            Dialect::Messages => messages::answer(self.operation, call),
            Dialect::Chat => chat::answer(self.operation, call),
            Dialect::Responses => responses::answer(call, responses::Edition::Public),
            Dialect::Codex if self.operation == Operation::Models => responses::codex_models(),
            Dialect::Codex => responses::answer(call, responses::Edition::Codex),
            Dialect::Generate => generate::answer(self.operation, call),
        }
    }
}

impl Dialect {
    /// A refusal in this dialect's words.
    pub(super) fn refuse(self, refusal: Refusal, now_ms: i64) -> Reply {
        match self {
            Self::Messages => messages::refuse(refusal, now_ms),
            Self::Chat | Self::Responses => chat::refuse(refusal),
            Self::Codex => responses::codex_refuse(refusal, now_ms),
            Self::Generate => generate::refuse(refusal),
        }
    }

    /// The event with which a stream of this dialect fails.
    pub(super) fn error_event(self) -> Bytes {
        match self {
            Self::Messages => messages::error_event(),
            Self::Chat => chat::error_event(),
            Self::Responses | Self::Codex => responses::error_event(),
            Self::Generate => generate::error_event(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &str, uri: &'static str) -> Option<(Dialect, Operation)> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Route::find(&method, &Uri::from_static(uri), |_| false).map(|route| (route.dialect, route.operation))
    }

    #[test]
    fn each_path_has_one_dialect_and_a_doubled_prefix_has_none() {
        let table = [
            ("POST", "/v1/messages?beta=true", Some((Dialect::Messages, Operation::Text))),
            ("POST", "/v1/messages/count_tokens", Some((Dialect::Messages, Operation::CountTokens))),
            ("POST", "/chat/completions", Some((Dialect::Chat, Operation::Text))),
            ("POST", "/coding/v1/chat/completions", Some((Dialect::Chat, Operation::Text))),
            ("POST", "/responses", Some((Dialect::Responses, Operation::Text))),
            ("POST", "/backend-api/codex/responses", Some((Dialect::Codex, Operation::Text))),
            ("GET", "/v1/responses", Some((Dialect::Responses, Operation::WebSocket))),
            ("POST", "/v1beta/models/g-1:generateContent", Some((Dialect::Generate, Operation::Text))),
            ("POST", "/v1beta/models/g:streamGenerateContent?alt=sse", Some((Dialect::Generate, Operation::TextEvents))),
            ("GET", "/v1beta/models", Some((Dialect::Generate, Operation::Models))),
            ("GET", "/models", Some((Dialect::Chat, Operation::Models))),
            ("GET", "/v1/messages", None),
            ("POST", "/v1/v1/messages", None),
            ("POST", "/", None),
        ];
        for (method, uri, expected) in table {
            assert_eq!(find(method, uri), expected, "{method} {uri}");
        }
    }
}
