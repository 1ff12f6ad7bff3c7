//! When a token ends by its own word, and what two sources say of one identity.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_domain::identity::Identity;
use claviger_domain::time::Timestamp;
use claviger_oauth::JWT_MAX_BYTES;

/// The claim `exp` of a JWT (RFC 7519 §4.1.4). The signature is not checked: the provider alone decides what a token is worth.
pub(super) fn expires_at(token: &str) -> Option<Timestamp> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: i64,
    }
    let mut parts = token.split('.');
    let (_header, payload, _signature, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let payload = Some(payload).filter(|payload| payload.len() <= JWT_MAX_BYTES)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Claims>(&bytes).ok().map(|claims| Timestamp::from_secs(claims.exp))
}

/// Fills the fields that are absent from another identity.
pub(super) fn complete(identity: Identity, other: Identity) -> Identity {
    identity.completed_by(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_an_expiry_of_its_own_has_none() {
        let token = |payload: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(expires_at(&token(r#"{"exp":1795352022,"x":1}"#)), Some(Timestamp(1_795_352_022_000)));
        for other in ["", "at-1", "a.b.c", "e30.e30.x.y", &token("{}"), &token("[]"), &token(r#"{"exp":"soon"}"#)] {
            assert_eq!(expires_at(other), None, "{other}");
        }
    }
}
