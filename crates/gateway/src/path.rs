//! Paths: which ones are refused, how one joins a provider's base, and the query without a client's key.

use claviger_domain::virtual_key::PREFIX;
use std::borrow::Cow;

/// Rounds of percent-decoding that a path is looked at through: a proxy behind a proxy decodes twice.
const DECODE_ROUNDS: usize = 3;

/// Whether a path may be passed on: no `.` or `..` segment and no control byte, however encoded. An encoded slash alone is
/// fine, since model names have slashes.
pub(crate) fn is_safe(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    let mut bytes = Cow::Borrowed(path.as_bytes());
    for _ in 0..=DECODE_ROUNDS {
        if bytes.iter().any(u8::is_ascii_control) || bytes.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) {
            return false;
        }
        match decoded(&bytes) {
            Some(next) => bytes = Cow::Owned(next),
            None => return true,
        }
    }
    // Still encoded after all rounds: nobody writes this by accident.
    false
}

/// A segment that some server takes for `.` or `..`; some cut it at the first `;`.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

/// The bytes with one round of percent-encoding taken off; `None` if there is none.
fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.contains(&b'%') {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut changed = false;
    while let Some((first, after)) = rest.split_first() {
        match after.split_at_checked(2).and_then(|(digits, after)| Some((hex(digits)?, after))) {
            Some((byte, after)) if *first == b'%' => {
                out.push(byte);
                rest = after;
                changed = true;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    changed.then_some(out)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

/// How the version at the start of a path meets a base that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionPrefix {
    /// It stays. The rule for a provider's own route, whose paths are the client's business.
    Kept,
    /// It is left out where the base has a path of its own: such a base stands for the version (`/backend/x` + `/v1/y` = `/backend/x/y`).
    ImpliedByBase,
}

/// Appends a path (empty, or starting with `/`) to a base path (no trailing slash). One doubled version is collapsed:
/// `/v1` + `/v1/x` = `/v1/x`.
pub(crate) fn join(base: &str, path: &str, version: VersionPrefix) -> String {
    let base_version = base.rsplit('/').next().filter(|segment| is_version(segment));
    let (first, rest) =
        path.strip_prefix('/').map_or((path, ""), |path| path.split_at_checked(path.find('/').unwrap_or(path.len())).unwrap_or((path, "")));
    let dropped = match base_version {
        Some(version) => version == first,
        None => version == VersionPrefix::ImpliedByBase && !base.is_empty() && is_version(first),
    };
    let tail = if dropped { rest } else { path };
    match (base, tail) {
        ("", "") => "/".to_owned(),
        _ => format!("{base}{tail}"),
    }
}

/// `v1`, `v1beta`, `v1beta2`, `v2alpha`: `v`, digits, perhaps a stage.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else {
        return false;
    };
    let stage = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
    stage.len() < rest.len() && (stage.is_empty() || stage.starts_with("beta") || stage.starts_with("alpha"))
}

/// The values of all `key` parameters of a query. The name is decoded, since the provider would do so; a virtual key has nothing to decode.
pub(crate) fn keys_in(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| is_key(pair)).map(|pair| pair.split_once('=').map_or("", |(_, value)| value))
}

/// The query without its `key` parameters, and without virtual keys in others, all other bytes untouched; `None` if nothing is left.
pub(crate) fn without_keys(query: &str) -> Option<Cow<'_, str>> {
    let is_dropped = |pair: &str| is_key(pair) || pair.split_once('=').is_some_and(|(_, value)| value.starts_with(PREFIX));
    if !query.split('&').any(is_dropped) {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_dropped(pair)).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

fn is_key(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    name == "key" || decoded(name.as_bytes()).is_some_and(|name| name == b"key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_are_refused_however_they_are_written() {
        let corpus = "/.. /../x /a/../b /a/.. /./a /a/. /%2e%2e/x /%2E%2E /.%2e/x /%2e. /a/%2e%2e%2fb /a%2f..%2fb /a%2F%2e%2e%2Fb /%252e%252e/x \
                      /%25252e%25252e/x /a/..;/b /a/..;x=1/b /a\\..\\b /a%5c..%5cb /%2e /a/%2e/b /..%2f /%2f.. /..%5c /a%00b /a%0d%0aHost:x /a%0ab /a%7f \
                      /a%09b /%25%30%30 /%25%32%65%25%32%65/x /a%252f%252e%252e a ../a *";
        for path in corpus.split(' ').filter(|path| !path.is_empty()) {
            assert!(!is_safe(path), "{path}");
        }
        assert!(!is_safe("/a\0b"));
        assert!(!is_safe("/%2525252525252e"));
    }

    #[test]
    fn paths_that_only_look_odd_are_passed() {
        for path in [
            "/",
            "/v1/messages",
            "/v1/models/a%2Fb",
            "/a//b",
            "//",
            "/...",
            "/a/..b",
            "/a/b..",
            "/a.b/c",
            "/%zz",
            "/100%",
            "/a%20b",
            "/%C3%A4",
            "/m:generate",
            "/a;b",
        ] {
            assert!(is_safe(path), "{path}");
        }
    }

    #[test]
    fn a_path_is_appended_to_its_base_and_one_doubled_version_collapses() {
        for (base, path, kept, implied) in [
            ("", "/v1/messages", "/v1/messages", "/v1/messages"),
            ("", "", "/", "/"),
            ("", "/", "/", "/"),
            ("/v1", "/v1/x", "/v1/x", "/v1/x"),
            ("/v1", "/v1", "/v1", "/v1"),
            ("/v1", "/v1/v1/x", "/v1/v1/x", "/v1/v1/x"),
            ("/v1", "/x", "/v1/x", "/v1/x"),
            ("/v1", "/v1beta/x", "/v1/v1beta/x", "/v1/v1beta/x"),
            ("/v1beta", "/v1beta/models/m:g", "/v1beta/models/m:g", "/v1beta/models/m:g"),
            ("/api/v1", "/v1/chat/completions", "/api/v1/chat/completions", "/api/v1/chat/completions"),
            ("/backend/x", "/v1/responses", "/backend/x/v1/responses", "/backend/x/responses"),
            ("/backend/x", "/responses", "/backend/x/responses", "/backend/x/responses"),
            ("/v1", "", "/v1", "/v1"),
            ("/v1", "//x", "/v1//x", "/v1//x"),
        ] {
            assert_eq!(join(base, path, VersionPrefix::Kept), kept, "{base} + {path}");
            assert_eq!(join(base, path, VersionPrefix::ImpliedByBase), implied, "{base} + {path}");
        }
    }

    #[test]
    fn versions_are_told_from_words() {
        for (segment, expected) in
            [("v1", true), ("v1beta", true), ("v2alpha1", true), ("v", false), ("vision", false), ("v1x", false), ("", false)]
        {
            assert_eq!(is_version(segment), expected, "{segment}");
        }
    }

    #[test]
    fn a_key_leaves_the_query_and_nothing_else_changes() {
        for (query, left) in [
            ("alt=sse&key=abc", Some("alt=sse")),
            ("key=abc&alt=sse&&x=%20+", Some("alt=sse&&x=%20+")),
            ("k%65y=abc", None),
            ("key", None),
            ("monkey=1&keys=2", Some("monkey=1&keys=2")),
            ("api_key=clv_canary&a=1", Some("a=1")),
            ("", Some("")),
        ] {
            assert_eq!(without_keys(query).as_deref(), left, "{query}");
        }
        assert_eq!(keys_in("a=1&key=x&%6Bey=y&key").collect::<Vec<_>>(), ["x", "y", ""]);
    }
}
