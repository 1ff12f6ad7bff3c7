//! Logins that another tool owns, read from its file.

use crate::stage::{Question, Stage};
use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView};
use claviger_contract::{Broker, Refusal};
use claviger_domain::attempt::{Made, Next};
use claviger_domain::classify::Class;
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_pool::Pool;
use claviger_simulator::Rotation;
use std::path::{Path, PathBuf};

fn write(path: &Path, access: &str, expires_at: Timestamp) {
    let text = format!(r#"{{"claudeAiOauth":{{"accessToken":"{access}","refreshToken":"rt-tool","expiresAt":{}}}}}"#, expires_at.0);
    std::fs::write(path, text).unwrap();
}

async fn follow(stage: &Stage, pool: &Pool, lifetime_s: i64) -> (AccountId, PathBuf) {
    let path = stage.folder.path().join(".credentials.json");
    let expires_at = Timestamp(stage.clock.now().0 + lifetime_s * 1000);
    write(&path, "at-tool", expires_at);
    let credential = CredentialAdd::Oauth { access: Exposed::new("at-tool".to_owned()), refresh: None, expires_at: Some(expires_at) };
    let add = AccountAdd { follows: Some(path.display().to_string()), ..Stage::draft("ada", credential) };
    (AccountId(pool.account_add(add).await.unwrap().account.id), path)
}

#[tokio::test]
async fn a_followed_token_that_is_refused_is_not_asked_for_in_circles() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (_, path) = follow(&stage, &pool, 3600).await;
    let admission = stage.admitted(&pool).await;
    let mut question = Question::new(&admission);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    let facts = attempt.facts().clone();
    let made = Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: Class::Unauthorized };
    pool.report(attempt, Class::Unauthorized);
    assert_eq!(question.attempts.after(made), Next::Refresh);
    let refusal = question.attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::Unavailable { .. })), "{refusal:?}");
    // The tool has renewed it by then.
    write(&path, "at-tool-2", Timestamp(stage.clock.now().0 + 7_200_000));
    stage.advance(31);
    assert_eq!(question.attempt(&pool).await.unwrap().1, "Bearer at-tool-2");
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
}

#[tokio::test]
async fn a_followed_token_near_its_end_is_not_asked_for_in_circles() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (_, path) = follow(&stage, &pool, 3600).await;
    let admission = stage.admitted(&pool).await;
    stage.advance(3597);
    let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::Unavailable { .. })), "{refusal:?}");
    write(&path, "at-tool-2", Timestamp(stage.clock.now().0 + 7_200_000));
    stage.advance(31);
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool-2");
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_followed_file_holds_nobody_up() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (_, path) = follow(&stage, &pool, 3600).await;
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    pool.sweep().await;
    let admission = stage.admitted(&pool).await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool");
}

/// Unsigned tokens of two Codex accounts, as far as anybody reads them: `acc-1`, `acc-1` again, `acc-2`.
const CODEX_TOKENS: [&str; 3] = [
    "eyJhbGciOiJub25lIn0.eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWNjLTEifSwic2VyaWFsIjoxfQ.sig",
    "eyJhbGciOiJub25lIn0.eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWNjLTEifSwic2VyaWFsIjoyfQ.sig",
    "eyJhbGciOiJub25lIn0.eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWNjLTIifSwic2VyaWFsIjozfQ.sig",
];

#[tokio::test]
async fn a_followed_file_that_another_account_has_logged_into_is_left_alone() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let path = stage.folder.path().join("auth.json");
    let login = |access: &str| {
        std::fs::write(&path, format!(r#"{{"tokens":{{"access_token":"{access}","refresh_token":"rt-tool"}}}}"#)).unwrap();
    };
    let [first, second, anothers] = CODEX_TOKENS;
    login(first);
    let credential = CredentialAdd::Oauth { access: Exposed::new(first.to_owned()), refresh: None, expires_at: None };
    let add = AccountAdd {
        provider: "openai-codex".into(),
        identity: IdentityView::default(),
        follows: Some(path.display().to_string()),
        ..Stage::draft("ada", credential)
    };
    pool.account_add(add).await.unwrap();
    let admission = stage.admitted(&pool).await;
    let question = Question { provider: "openai-codex".parse().unwrap(), ..Question::new(&admission) };
    login(second);
    pool.sweep().await;
    assert_eq!(question.attempt(&pool).await.unwrap().1, format!("Bearer {second}"));
    login(anothers);
    stage.advance(60);
    pool.sweep().await;
    assert_eq!(question.attempt(&pool).await.unwrap().1, format!("Bearer {second}"), "somebody else's token went under this account");
}
