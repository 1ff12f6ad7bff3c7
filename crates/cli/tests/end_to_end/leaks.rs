//! Canary secrets through whole flows, then a search for them in everything that was written.

use crate::stage::{Stage, files_below, post};
use claviger_simulator::{Rotation, TokenFault};
use claviger_testkit::leak::canary_search;

const CANARIES: [&str; 4] =
    ["canary-access-7c1f9e2b40d8", "canary-refresh-a94e6d03bb17", "canary-apikey-51c0f7d2e6a8", "canary-garbled-0e8b7a6c5d4f"];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output_log_database_or_error() {
    let stage = Stage::new(Rotation::Grace { grace_s: 60 }).await;
    let [access, refresh, api_key, garbled] = CANARIES;
    let control = stage.simulator.control();
    let issued = control.grant_issue_with("ada", access, refresh, -10);
    control.api_key_add(api_key, "team");
    let login = |file: &str, text: String| {
        std::fs::write(stage.path("user").join(file), text).unwrap();
        stage.path("user").join(file).to_str().unwrap().to_owned()
    };
    let oauth = login(
        "oauth.json",
        format!(
            r#"{{"type":"oauth","access":"{access}","refresh":"{refresh}","expires":{},"email":"ada@example.com"}}"#,
            issued.expires_at_ms
        ),
    );
    let key_file = login("key.json", format!(r#"{{"type":"api_key","key":"{api_key}"}}"#));
    let broken = login("broken.json", format!(r#"{{"type":"oauth","access":"{garbled}","refresh":7}}"#));
    let mut outputs = Vec::new();
    let mut keep = |output: std::process::Output| {
        outputs.extend(output.stdout);
        outputs.extend(output.stderr);
    };
    keep(stage.run(&["-vv", "account", "add", "anthropic", "--from-json", &oauth]));
    keep(stage.run(&["-vv", "account", "add", "openai", "--from-json", &key_file]));
    keep(stage.command(&["-vv", "account", "add", "anthropic", "--from-json", &broken]).output().unwrap());
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();

    // A lost answer, garbage, a refusal that echoes the credential, and good answers.
    for fault in [TokenFault::CloseAfterCommit, TokenFault::Garbage] {
        control.token_fault_next(fault);
    }
    let echo = format!(r#"{{"error":{{"message":"bad key {api_key}","type":"invalid_request_error"}}}}"#);
    control.llm_fault_for("team", claviger_simulator::LlmFault::Status { status: 401, headers: Vec::new(), body: echo }, 1);
    let served = stage.serve();
    for path in ["/v1/messages", "/v1/chat/completions", "/v1/messages", "/openai/v1/chat/completions"] {
        let (_, body) = post(&served.origin, path, &key).await;
        outputs.extend(body.into_bytes());
    }
    for arguments in [&["account", "list"][..], &["status"], &["ps"], &["doctor"], &["key", "list"], &["account", "show", "1"]] {
        let output = stage.command(arguments).output().unwrap();
        outputs.extend(output.stdout);
        outputs.extend(output.stderr);
    }

    let posts = stage.simulator.ledger().token_posts();
    let issued: Vec<String> = posts.iter().filter_map(|post| post.refresh_token.clone()).collect();
    let seen = stage.simulator.ledger().credentials_seen();
    let mut canaries: Vec<&str> = CANARIES.to_vec();
    canaries.extend(issued.iter().map(String::as_str));
    canaries.extend(seen.iter().map(String::as_str));
    canaries.push(&key);

    assert!(!outputs.is_empty());
    assert_eq!(canary_search(&outputs, &canaries), [], "in what was printed or answered");
    let files =
        files_below(&stage.path("home")).into_iter().chain([(stage.path("serve.log"), std::fs::read(stage.path("serve.log")).unwrap())]);
    let mut names = Vec::new();
    for (path, bytes) in files {
        assert_eq!(canary_search(&bytes, &canaries), [], "in {}", path.display());
        names.push(path);
    }
    assert!(names.iter().any(|path| path.ends_with("vault.db")), "{names:?}");
    drop(served);

    // The control: a planted leak is found, in the same way and in the same place.
    let planted = stage.path("home").join("planted");
    std::fs::write(&planted, format!("GET /?key={refresh}")).unwrap();
    let found = files_below(&stage.path("home")).into_iter().any(|(_, bytes)| !canary_search(&bytes, &canaries).is_empty());
    assert!(found, "the search finds nothing at all");
}
