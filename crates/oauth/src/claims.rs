//! What a JWT says of its owner and its life. No signature is checked: the token came from its issuer over TLS, and the
//! claims only label an account.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_domain::identity::{Identity, fit_name};
use claviger_domain::profile::IdentityRule;
use claviger_domain::time::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Most bytes of a token whose claims are read; servers accept no header much longer.
pub const JWT_MAX_BYTES: usize = 16 * 1024;

/// The identity that a token's claims name; empty where it is no JWT or names none.
///
/// Of each list of paths the first one that leads to usable text counts.
pub fn identity_from_claims(rule: &IdentityRule, token: &str) -> Identity {
    let Some(claims) = claims(token) else { return Identity::default() };
    let first = |paths: &[Vec<String>]| paths.iter().find_map(|path| text_at(&claims, path));
    Identity { account_id: first(&rule.account_id), email: first(&rule.email), org_id: first(&rule.org_id), ..Identity::default() }
        .normalized()
}

/// The plan that a token's claims name, lower case; `None` where it is no JWT or names none.
pub fn plan_from_claims(rule: &IdentityRule, token: &str) -> Option<String> {
    let claims = claims(token)?;
    rule.plan.iter().find_map(|path| text_at(&claims, path)).map(|plan| plan.to_lowercase())
}

/// How long a JWT says that it lasts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// From its issue on; free of anybody's clock.
    Life(Duration),
    /// Until this point on the issuer's clock.
    Until(Timestamp),
}

pub(crate) fn span_from_claims(token: &str) -> Option<Span> {
    let claims = claims(token)?;
    let seconds = |name| {
        let number = claims.get(name).and_then(Value::as_f64)?;
        Duration::try_from_secs_f64(number).ok().filter(|since| *since > Duration::ZERO)
    };
    let expires = seconds("exp")?;
    Some(match seconds("iat").and_then(|issued| expires.checked_sub(issued)) {
        Some(life) if life > Duration::ZERO => Span::Life(life),
        _ => Span::Until(Timestamp(0).plus(expires)),
    })
}

/// The claims of a JWT in its compact form (RFC 7519 §3), which is an object in the second of three parts.
fn claims(token: &str) -> Option<Value> {
    if token.len() > JWT_MAX_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let decoded = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&decoded).ok()?;
    (parts.next().is_none() && claims.is_object()).then_some(claims)
}

/// Text fit to be shown and compared: short, and without characters that would steer a terminal.
fn text_at(claims: &Value, path: &[String]) -> Option<String> {
    fit_name(path.iter().try_fold(claims, |value, name| value.get(name))?.as_str()?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::identity::NAME_MAX_BYTES;

    fn jwt(claims: &str) -> String {
        format!("{}.{}.sig", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    fn rule() -> IdentityRule {
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        IdentityRule {
            account_id: vec![path(&["https://auth.example/claims", "account_id"]), path(&["sub"])],
            email: vec![path(&["profile", "email"]), path(&["email"])],
            ..IdentityRule::default()
        }
    }

    #[test]
    fn the_first_path_that_leads_to_text_names_the_owner() {
        let token =
            jwt(r#"{"https://auth.example/claims":{"account_id":"acc-1"},"sub":"s","profile":{"email":7},"email":" A@X.example "}"#);
        let identity = identity_from_claims(&rule(), &token);
        assert_eq!(identity.account_id.as_deref(), Some("acc-1"));
        assert_eq!(identity.email.as_deref(), Some("a@x.example"));
    }

    #[test]
    fn what_is_no_jwt_or_not_fit_to_show_names_nobody() {
        let long = format!(r#"{{"sub":"{}"}}"#, "x".repeat(NAME_MAX_BYTES + 1));
        let huge = format!(r#"{{"sub":"a","pad":"{}"}}"#, "x".repeat(JWT_MAX_BYTES));
        for token in [
            String::new(),
            "at-1".to_owned(),
            "a.b".to_owned(),
            "a.!!.c".to_owned(),
            jwt("[]"),
            jwt("{"),
            jwt(r#"{"sub":""}"#),
            jwt(r#"{"sub":7}"#),
            jwt(r#"{"sub":"\u001b[2J"}"#),
            jwt(&long),
            jwt(&huge),
            format!("{}.d", jwt(r#"{"sub":"a"}"#)),
        ] {
            assert_eq!(identity_from_claims(&rule(), &token), Identity::default(), "{token}");
        }
    }

    #[test]
    fn padding_is_tolerated() {
        let token = jwt(r#"{"sub":"a"}"#).replace(".sig", "=.sig");
        assert_eq!(identity_from_claims(&rule(), &token).account_id.as_deref(), Some("a"));
    }

    #[test]
    fn a_life_needs_no_clock_where_the_token_says_when_it_was_issued() {
        let hour = Duration::from_hours(1);
        assert_eq!(span_from_claims(&jwt(r#"{"iat":1000,"exp":4600}"#)), Some(Span::Life(hour)));
        assert_eq!(span_from_claims(&jwt(r#"{"exp":4600}"#)), Some(Span::Until(Timestamp::from_secs(4600))));
        assert_eq!(span_from_claims(&jwt(r#"{"iat":5000,"exp":4600}"#)), Some(Span::Until(Timestamp::from_secs(4600))));
        for claims in [r#"{"iat":1000}"#, r#"{"exp":"4600"}"#, r#"{"exp":-1}"#, r#"{"exp":1e300}"#] {
            assert_eq!(span_from_claims(&jwt(claims)), None, "{claims}");
        }
    }
}
