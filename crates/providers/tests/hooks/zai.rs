//! The key of a Z.AI login.

use crate::stage::{Fake, Scripted, answer, fresh, told};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../fixtures/zai/hooks/", $name, ".json"))
    };
}

const KEYS: &str = "https://api.z.ai/api/biz/v1/organization/org-1/projects/proj-1/api_keys";

fn upto_keys() -> [Scripted; 2] {
    [answer(200, fixture!("business_token")), answer(200, fixture!("customer"))]
}

fn zai(script: impl IntoIterator<Item = Scripted>) -> Fake {
    Fake::of("zai", script)
}

#[test]
fn a_key_of_our_name_is_made_where_there_is_none() {
    let rest = [answer(200, fixture!("keys_others")), answer(200, fixture!("key_made")), answer(200, fixture!("key_secret"))];
    let fake = zai(upto_keys().into_iter().chain(rest));
    let login = fake.finish(fresh()).unwrap();
    assert_eq!((login.access.expose(), login.is_key), ("key-1.canary-secret-1", true));
    assert!(login.refresh.is_none() && login.expires_at.is_none());
    let ledger = fake.ledger();
    let lines: Vec<_> = ledger.iter().map(|sent| sent.line.clone()).collect();
    assert_eq!(
        lines,
        [
            "POST https://api.z.ai/api/auth/z/login".to_owned(),
            "GET https://api.z.ai/api/biz/customer/getCustomerInfo".to_owned(),
            format!("GET {KEYS}"),
            format!("POST {KEYS}"),
            format!("GET {KEYS}/copy/key-1"),
        ]
    );
    assert_eq!((ledger[0].body.as_str(), ledger[3].body.as_str()), (r#"{"token":"canary-at-1"}"#, r#"{"name":"claviger"}"#));
    assert!(ledger[1..].iter().all(|sent| sent.authorization == "Bearer canary-business-1"));
    assert_eq!(ledger[0].authorization, "");
}

#[test]
fn a_second_login_takes_the_key_that_is_there_and_makes_no_other() {
    let fake = zai(upto_keys().into_iter().chain([answer(200, fixture!("keys_ours")), answer(200, fixture!("key_secret"))]));
    assert_eq!(fake.finish(fresh()).unwrap().access.expose(), "key-1.canary-secret-1");
    assert!(fake.lines().iter().skip(1).all(|line| line.starts_with("GET ")));
}

#[test]
fn what_is_a_key_already_is_left_alone() {
    let fake = zai([]);
    let mut key = fresh();
    key.is_key = true;
    assert_eq!(fake.finish(key).unwrap().access.expose(), "canary-at-1");
    assert!(fake.lines().is_empty());
}

#[test]
fn a_refusal_with_status_200_is_one() {
    let fake = zai([answer(200, fixture!("refused"))]);
    assert!(told(&fake.finish(fresh()).unwrap_err()).contains("log in with a key"));
    let fake = zai(upto_keys().into_iter().chain([answer(200, fixture!("refused"))]));
    told(&fake.finish(fresh()).unwrap_err());
}

#[test]
fn an_account_without_a_project_is_told_so() {
    for customer in [r#"{"code":200,"data":{"organizations":[]}}"#, r#"{"code":0,"data":{"organizations":[{"id":"o","projects":[]}]}}"#] {
        let fake = zai([answer(200, fixture!("business_token")), answer(200, customer)]);
        assert!(told(&fake.finish(fresh()).unwrap_err()).contains("no organisation with a project"));
    }
}

#[test]
fn no_id_of_an_answer_leads_to_another_path() {
    let customer = r#"{"code":200,"data":{"organizations":[{"id":"../../x","projects":[{"id":"p"}]}]}}"#;
    let fake = zai([answer(200, fixture!("business_token")), answer(200, customer)]);
    told(&fake.finish(fresh()).unwrap_err());
    assert_eq!(fake.lines().len(), 2);
    let key = r#"{"code":200,"data":[{"name":"claviger","apiKey":"../x?y"}]}"#;
    let fake = zai(upto_keys().into_iter().chain([answer(200, key)]));
    told(&fake.finish(fresh()).unwrap_err());
    assert_eq!(fake.lines().len(), 3);
}

#[test]
fn garbage_and_silence_are_told_without_secrets() {
    let bad = [|| answer(500, "canary-body"), || answer(200, "canary-body"), || answer(200, r#"{"code":200}"#), || Scripted::Unreachable];
    for bad in bad {
        for before in 0..3 {
            let known = upto_keys().into_iter().chain([answer(200, fixture!("keys_ours"))]).take(before);
            let fake = zai(known.chain([bad()]));
            told(&fake.finish(fresh()).unwrap_err());
            fake.ledger();
        }
    }
}
