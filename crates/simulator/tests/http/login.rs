//! The identity provider over HTTP: what it trades a code for, and what it refuses.

use crate::client::Lab;
use claviger_simulator::{LoginHitKind, TokenPolicy};

/// `base64url(sha256("verifier-1"))`.
const CHALLENGE: &str = "xTYRBLTDt1gS3-rw_3FBVafZ0iNg9bZYBbG8fRPvkEs";

/// A code for a client, a redirect and a challenge.
async fn code(lab: &Lab) -> String {
    let path = format!("/authorize?client_id=c-1&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcb&state=s%2F1&code_challenge={CHALLENGE}");
    let answer = lab.ask("GET", &path, &[], "").await;
    let location = answer.headers.get("location").unwrap().to_str().unwrap().to_owned();
    assert_eq!(answer.status, 302);
    let (code, state) = location.strip_prefix("http://127.0.0.1:1/cb?code=").unwrap().split_once("&state=").unwrap();
    assert_eq!(state, "s%2F1", "state comes back as it went");
    code.to_owned()
}

async fn exchange(lab: &Lab, code: &str, redirect: &str, verifier: &str) -> u16 {
    let body = format!("grant_type=authorization_code&client_id=c-1&code={code}&redirect_uri={redirect}&code_verifier={verifier}");
    lab.ask("POST", "/oauth/token", &[], body).await.status
}

#[tokio::test]
async fn a_code_is_good_once_and_for_its_own_verifier_and_redirect_alone() {
    let lab = Lab::new(TokenPolicy::default()).await;
    let code = code(&lab).await;
    let redirect = "http%3A%2F%2F127.0.0.1%3A1%2Fcb";
    assert_eq!(exchange(&lab, "code-x", redirect, "verifier-1").await, 400);
    assert_eq!(exchange(&lab, &code, redirect, "verifier-2").await, 400);
    assert_eq!(exchange(&lab, &code, "http%3A%2F%2Fevil.example", "verifier-1").await, 400);
    assert_eq!(exchange(&lab, &code, redirect, "verifier-1").await, 200);
    assert_eq!(exchange(&lab, &code, redirect, "verifier-1").await, 400, "a code is good once");
    let hits = lab.simulator.ledger().login_hits();
    assert_eq!(hits.iter().filter(|hit| hit.kind == LoginHitKind::Exchange).count(), 5);
}
