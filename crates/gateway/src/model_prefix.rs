//! Model prefixes: a request for `team-a/some-model` goes to the accounts of `team-a`, and asks the provider for `some-model`.
//!
//! This is the one place where a request is changed, and only one that names such a prefix: the value of the top-level field
//! `model` of its body, or the model in its path, and no other byte.

use crate::json::Fields;
use crate::route::{Destination, Target};
use crate::session::{MODELS, text};
use bytes::{Bytes, BytesMut};
use claviger_contract::Routes;

/// A request whose model begins with a prefix, and the part of it that named the model as it is without.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prefixed {
    /// The prefix, without its `/`.
    pub(crate) prefix: String,
    /// The part without the prefix.
    pub(crate) without: Without,
}

/// The part of a request that named a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The path.
    Path(String),
    /// The whole body.
    Body(Bytes),
}

/// Finds the prefix of a request's model: one by which accounts of the provider that the request goes to are asked for. On a
/// dialect's own route that provider is the one of the model without the prefix.
pub(crate) fn find(routes: &Routes, target: &Target<'_>, body: &Bytes) -> Option<Prefixed> {
    if routes.model_prefixes.is_empty() {
        return None;
    }
    cut(target.path, body, |model, rest| {
        let profile = match &target.to {
            Destination::Provider(profile) => Some(profile),
            Destination::Chosen => routes.choose(target.dialect, Some(rest)),
        };
        profile.is_some_and(|profile| routes.split_prefix(&profile.id, model).is_some())
    })
}

/// Cuts a prefix off. `is_known` gets the model with the prefix and without.
fn cut(path: &str, body: &Bytes, is_known: impl Fn(&str, &str) -> bool) -> Option<Prefixed> {
    if let Some((before, named)) = path.split_once(MODELS) {
        // A client may encode the slash: to it, a model is one segment of the path.
        let (prefix, rest) = ["/", "%2F", "%2f"].into_iter().find_map(|slash| named.split_once(slash))?;
        let model = rest.split([':', '/']).next().filter(|model| !model.is_empty())?;
        let path = || format!("{before}{MODELS}{rest}");
        return is_known(&format!("{prefix}/{model}"), model)
            .then(|| Prefixed { prefix: prefix.to_owned(), without: Without::Path(path()) });
    }
    let value = Fields::of(body).find(|field| field.is("model"))?.value;
    let model = text(value)?;
    let (prefix, rest) = model.split_once('/').filter(|(_, rest)| !rest.is_empty())?;
    if !is_known(&model, rest) {
        return None;
    }
    // The value is a part of the body.
    let at = value.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let (before, after) = (body.get(..at)?, body.get(at.checked_add(value.len())?..)?);
    let rest = serde_json::to_vec(rest).ok()?;
    let mut rewritten = BytesMut::with_capacity(body.len());
    for part in [before, &rest, after] {
        rewritten.extend_from_slice(part);
    }
    Some(Prefixed { prefix: prefix.to_owned(), without: Without::Body(rewritten.freeze()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_off(path: &str, body: &'static str) -> Option<(String, String)> {
        let known = |model: &str, rest: &str| model == format!("team-a/{rest}");
        cut(path, &Bytes::from_static(body.as_bytes()), known).map(|Prefixed { prefix, without }| match without {
            Without::Path(path) => (prefix, path),
            Without::Body(body) => (prefix, String::from_utf8(body.to_vec()).unwrap()),
        })
    }

    #[test]
    fn only_the_value_of_the_model_changes() {
        for (body, without) in [
            (r#"{"model":"team-a/m"}"#, r#"{"model":"m"}"#),
            (
                " { \"a\" : [\"team-a/x\"],\n\"model\" :  \"team-a/org/m\" , \"é\":1.0e0 } ",
                " { \"a\" : [\"team-a/x\"],\n\"model\" :  \"org/m\" , \"é\":1.0e0 } ",
            ),
            (r#"{"model":"team-a\/m\u00e9"}"#, r#"{"model":"mé"}"#),
        ] {
            assert_eq!(cut_off("/v1/messages", body), Some(("team-a".to_owned(), without.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_model_in_a_path_is_cut_there() {
        for (path, without) in [
            ("/v1beta/models/team-a/m:generateContent", "/v1beta/models/m:generateContent"),
            ("/v1beta/models/team-a%2Fm:countTokens", "/v1beta/models/m:countTokens"),
            ("/v1/models/team-a%2fm", "/v1/models/m"),
        ] {
            assert_eq!(cut_off(path, r#"{"model":"team-a/other"}"#), Some(("team-a".to_owned(), without.to_owned())), "{path}");
        }
    }

    #[test]
    fn what_names_no_known_prefix_is_left_alone() {
        for body in [r#"{"model":"team-b/m"}"#, r#"{"model":"team-a/"}"#, r#"{"model":"m"}"#, r#"{"model":7}"#, "no JSON", ""] {
            assert_eq!(cut_off("/v1/messages", body), None, "{body}");
        }
        for path in ["/v1beta/models/m:generateContent", "/v1beta/models/team-a/", "/v1beta/models/team-b/m", "/v1beta/models/"] {
            assert_eq!(cut_off(path, ""), None, "{path}");
        }
    }
}
