//! Proof keys for code exchange (RFC 7636), by S256 alone, and the `state` of an authorization request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_domain::secret::SecretText;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Random bytes of a verifier: as base64url 86 letters, of the 43 to 128 that RFC 7636 §4.1 allows.
pub const VERIFIER_BYTES: usize = 64;

/// Random bytes of a `state`; RFC 6819 §5.1.4.2.2 asks for 16 at least.
pub const STATE_BYTES: usize = 32;

/// A verifier and what it hashes to. The verifier leaves for the token endpoint alone.
pub struct Pkce {
    verifier: SecretText,
    challenge: String,
}

impl Pkce {
    /// From random bytes, which are overwritten.
    pub fn new(mut random: [u8; VERIFIER_BYTES]) -> Self {
        let verifier = SecretText::new(URL_SAFE_NO_PAD.encode(random));
        random.zeroize();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose().as_bytes()));
        Self { verifier, challenge }
    }

    /// `code_verifier`.
    pub fn verifier(&self) -> &str {
        self.verifier.expose()
    }

    /// `code_challenge`, for the method `S256`.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }
}

impl fmt::Debug for Pkce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pkce")
    }
}

/// The `state` of one authorization request: single use, and known to its browser and to us alone.
pub struct LoginState(SecretText);

impl LoginState {
    /// From random bytes, which are overwritten.
    pub fn new(mut random: [u8; STATE_BYTES]) -> Self {
        let state = SecretText::new(URL_SAFE_NO_PAD.encode(random));
        random.zeroize();
        Self(state)
    }

    /// The text, for the authorization URL.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether this is the state that came back; in constant time.
    pub fn is(&self, given: &str) -> bool {
        self.0.expose().as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for LoginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginState")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let pkce = Pkce::new([7; VERIFIER_BYTES]);
        assert_eq!(pkce.challenge(), URL_SAFE_NO_PAD.encode(Sha256::digest(pkce.verifier().as_bytes())));
        assert!((43..=128).contains(&pkce.verifier().len()));
        assert_eq!(format!("{pkce:?}"), "Pkce");
    }

    #[test]
    fn a_state_is_itself_and_nothing_else() {
        let state = LoginState::new([1; STATE_BYTES]);
        let text = state.expose().to_owned();
        assert!(state.is(&text));
        for other in ["", "x", text.strip_prefix(|_| true).unwrap(), &format!("{text}x"), LoginState::new([2; STATE_BYTES]).expose()] {
            assert!(!state.is(other), "{other}");
        }
    }
}
