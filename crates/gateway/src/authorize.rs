//! Whose request it is: the virtual key from whichever slot the client's library puts it into.

use crate::error::Fault;
use crate::path;
use claviger_domain::virtual_key::{PREFIX, Presented};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that hold a bare key.
const BARE_SLOTS: [HeaderName; 3] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("x-goog-api-key"), HeaderName::from_static("api-key")];

/// Finds the key. Real provider keys and leftovers in other slots are no keys of ours and are passed over; the same key in two
/// slots is one key.
pub(crate) fn key<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Result<Presented<'a>, Fault> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(text).filter_map(bearer);
    let bare = BARE_SLOTS.into_iter().flat_map(|slot| headers.get_all(slot)).filter_map(text);
    let in_query = query.into_iter().flat_map(path::keys_in);
    let mut found: Option<Presented<'a>> = None;
    let mut is_damaged = false;
    for candidate in bearers.chain(bare).chain(in_query) {
        match (Presented::read(candidate), &found) {
            (Some(key), None) => found = Some(key),
            (Some(key), Some(first)) if key.expose() != first.expose() => return Err(Fault::KeysDiffer),
            (Some(_), Some(_)) => {}
            (None, _) => is_damaged |= candidate.starts_with(PREFIX),
        }
    }
    found.ok_or(if is_damaged { Fault::KeyDamaged } else { Fault::KeyMissing })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::virtual_key::{KeyKind, RANDOM_BYTES, compose};

    fn a_key(fill: u8) -> String {
        compose(KeyKind::Standing, &[fill; RANDOM_BYTES]).1.expose().to_owned()
    }

    fn read(sent: &[(&'static str, String)], query: Option<&str>) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        key(&headers, query).map(|key| key.expose().to_owned()).map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn every_slot_is_read() {
        let key = a_key(1);
        for (name, value) in [
            ("authorization", format!("Bearer {key}")),
            ("authorization", format!("bearer  {key}")),
            ("x-api-key", key.clone()),
            ("x-goog-api-key", key.clone()),
            ("api-key", key.clone()),
        ] {
            assert_eq!(read(&[(name, value)], None).as_ref(), Ok(&key), "{name}");
        }
        assert_eq!(read(&[], Some(&format!("alt=sse&key={key}"))), Ok(key));
    }

    #[test]
    fn the_first_readable_key_wins_over_leftovers_and_two_different_ones_are_refused() {
        let (key, other) = (a_key(1), a_key(2));
        let bearer = |key: &str| ("authorization", format!("Bearer {key}"));
        assert_eq!(read(&[("x-api-key", "sk-test-1".to_owned()), bearer(&key)], None).as_ref(), Ok(&key));
        assert_eq!(read(&[("x-api-key", key.clone()), bearer("")], None).as_ref(), Ok(&key));
        assert_eq!(read(&[("x-api-key", key.clone()), bearer(&key)], Some(&format!("key={key}"))).as_ref(), Ok(&key));
        assert_eq!(read(&[("x-api-key", key.clone()), bearer(&other)], None), Err("KeysDiffer".to_owned()));
        assert_eq!(read(&[bearer(&key)], Some(&format!("key={other}"))), Err("KeysDiffer".to_owned()));
    }

    #[test]
    fn no_key_and_a_damaged_one_are_told_apart() {
        assert_eq!(read(&[("x-api-key", String::new())], None), Err("KeyMissing".to_owned()));
        assert_eq!(read(&[("authorization", format!("Basic {}", a_key(1)))], None), Err("KeyMissing".to_owned()));
        assert_eq!(read(&[("x-api-key", format!("{}x", a_key(1)))], None), Err("KeyDamaged".to_owned()));
    }
}
