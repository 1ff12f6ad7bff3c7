//! Who has logged in at GitHub, and where requests of the plan go.

use crate::stage::{Fake, Scripted, answer, fresh};
use claviger_domain::identity::Identity;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::hooks::FreshLogin;

const PERSON: &str = include_str!("../fixtures/github-copilot/hooks/person.json");
const PLAN: &str = include_str!("../fixtures/github-copilot/hooks/plan.json");

fn finish(script: [Scripted; 2]) -> (FreshLogin, Fake) {
    let fake = Fake::of("github-copilot", script);
    (fake.finish(fresh()).unwrap(), fake)
}

#[test]
fn login_plan_and_the_host_of_the_plan_are_learnt() {
    let (login, fake) = finish([answer(200, PERSON), answer(200, PLAN)]);
    let identity = login.identity;
    assert_eq!((identity.account_id.as_deref(), identity.email.as_deref()), (Some("octo"), Some("o@x.example")));
    assert_eq!(identity.api_endpoint.as_deref(), Some("https://api.business.githubcopilot.com"));
    assert_eq!((identity.enterprise_url, login.plan.as_deref()), (None, Some("business")));
    let ledger = fake.ledger();
    assert_eq!(ledger[0].line, "GET https://api.github.com/user");
    assert_eq!(ledger[1].line, "GET https://api.github.com/copilot_internal/user");
    assert_eq!((ledger[0].authorization.as_str(), ledger[1].authorization.as_str()), ("Bearer canary-at-1", "token canary-at-1"));
}

#[test]
fn a_host_that_is_no_origin_is_not_kept() {
    for api in ["http://api.evil.example", "https://user@evil.example", "https://api.example/path", "api.example", ""] {
        let plan = serde_json::json!({ "endpoints": { "api": api } }).to_string();
        let (login, _) = finish([answer(200, PERSON), answer(200, &plan)]);
        assert_eq!(login.identity.api_endpoint, None, "{api}");
    }
}

#[test]
fn a_provider_that_does_not_say_who_it_is_does_not_end_the_login() {
    for bad in [|| answer(403, "canary"), || answer(200, "<html>"), || Scripted::Unreachable] {
        let (login, fake) = finish([bad(), bad()]);
        assert_eq!(login.identity, Identity::default());
        assert_eq!(fake.lines().len(), 2);
    }
}

#[test]
fn the_account_of_an_enterprise_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = r#"
        [providers.copilot-acme]
        extends = "github-copilot"
        base_url = "https://copilot-api.acme.ghe.com"
        [providers.copilot-acme.hook_urls]
        github-user = "https://api.acme.ghe.com/user"
        copilot-user = "https://api.acme.ghe.com/copilot_internal/user"
    "#;
    std::fs::write(folder.path().join("acme.toml"), overlay).unwrap();
    let catalogue = Catalogue::load(Some(folder.path())).unwrap();
    let inference = &catalogue.get("copilot-acme").unwrap().origins.inference;
    assert_eq!(inference.iter().map(ToString::to_string).collect::<Vec<_>>(), ["https://copilot-api.acme.ghe.com:443"]);
    let fake = Fake::with(catalogue.get("copilot-acme").unwrap().clone(), [answer(200, PERSON), answer(200, PLAN)]);
    let login = fake.finish(fresh()).unwrap();
    assert_eq!(login.identity.enterprise_url.as_deref(), Some("acme.ghe.com"));
    assert_eq!(login.identity.key().as_deref(), Some("email:o@x.example|org:octo|at:acme.ghe.com"));
    assert!(fake.lines().iter().all(|line| line.contains("https://api.acme.ghe.com/")));
}

#[test]
fn an_entry_that_extends_another_sends_its_logins_to_none_of_the_others_hooks() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = "[providers.copilot-acme]\nextends = \"github-copilot\"\nbase_url = \"https://copilot-api.acme.ghe.com\"\n";
    std::fs::write(folder.path().join("acme.toml"), overlay).unwrap();
    let catalogue = Catalogue::load(Some(folder.path())).unwrap();
    let fake = Fake::with(catalogue.get("copilot-acme").unwrap().clone(), []);
    fake.finish(fresh()).unwrap();
    assert!(fake.lines().is_empty());
}
