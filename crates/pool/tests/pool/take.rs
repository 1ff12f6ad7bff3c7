//! Logins taken over from the tool that kept them.

use crate::stage::{PROVIDER, Question, Stage};
use claviger_admin::{AccountAdd, Admin, CredentialAdd, ErrorCode, Exposed, TakeOutcome};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_pool::Pool;
use claviger_runtime::Failpoint;
use claviger_simulator::{IssuedGrant, Rotation};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn write(path: &Path, access: &str, refresh: &str, expires_at: Timestamp) {
    let text = format!(r#"{{"claudeAiOauth":{{"accessToken":"{access}","refreshToken":"{refresh}","expiresAt":{}}}}}"#, expires_at.0);
    std::fs::write(path, text).unwrap();
}

fn keep(path: &Path, issued: &IssuedGrant) {
    write(path, &issued.access, &issued.refresh, Timestamp(issued.expires_at_ms));
}

/// A login that a tool keeps and that is followed.
async fn followed(stage: &Stage, pool: &Pool, lifetime_s: i64) -> (AccountId, PathBuf) {
    let issued = stage.simulator.control().grant_issue_with("ada", "at-tool", "rt-tool", lifetime_s);
    let path = stage.folder.path().join(".credentials.json");
    keep(&path, &issued);
    let expires_at = Some(Timestamp(issued.expires_at_ms));
    let credential = CredentialAdd::Oauth { access: Exposed::new("at-tool".to_owned()), refresh: None, expires_at };
    let add = AccountAdd { follows: Some(path.display().to_string()), ..Stage::draft("ada", credential) };
    (AccountId(pool.account_add(add).await.unwrap().account.id), path)
}

async fn notice(pool: &Pool) -> Option<String> {
    pool.account_list().await.unwrap().accounts.remove(0).notice
}

#[tokio::test]
async fn a_login_that_was_taken_over_is_refreshed_here_and_its_file_is_followed_no_more() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = followed(&stage, &pool, 3600).await;
    let text = std::fs::read(&path).unwrap();
    let taken = pool.account_take(id).await.unwrap();
    assert_eq!((taken.outcome, taken.account.follows, taken.account.notice), (TakeOutcome::TakenOver, None, None));
    assert!(taken.steps.iter().any(|step| step.starts_with("mv ") && step.contains(".credentials.json.taken")), "{:?}", taken.steps);
    assert_eq!(std::fs::read(&path).unwrap(), text, "its file is not ours to write");
    // The person does as told; the token runs out and is refreshed here.
    std::fs::remove_file(&path).unwrap();
    stage.advance(3601);
    let admission = stage.admitted(&pool).await;
    let (attempt, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert_ne!(header, "Bearer at-tool");
    assert_eq!(stage.send(&attempt, &header).await, 200);
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
    assert_eq!(pool.account_take(id).await.unwrap().outcome, TakeOutcome::NotQuarantined);
    pool.sweep().await;
    assert_eq!(notice(&pool).await, None);
}

#[tokio::test]
async fn what_the_tool_has_renewed_meanwhile_is_what_is_taken() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = followed(&stage, &pool, 60).await;
    // Renewed after the last look at the file, before the take.
    keep(&path, &stage.simulator.control().grant_issue_with("ada", "at-tool-2", "rt-tool-2", 3600));
    pool.account_take(id).await.unwrap();
    let admission = stage.admitted(&pool).await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool-2");
    stage.advance(3601);
    Question::new(&admission).attempt(&pool).await.unwrap();
    let posts: Vec<_> = stage.simulator.ledger().token_posts().iter().map(|post| post.refresh_token.clone().unwrap()).collect();
    assert_eq!(posts, ["rt-tool-2"]);
}

#[tokio::test]
async fn a_token_that_the_tool_has_used_up_after_the_take_is_never_sent() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = followed(&stage, &pool, 600).await;
    pool.account_take(id).await.unwrap();
    // The tool was not closed, and renews its login.
    keep(&path, &stage.simulator.control().grant_issue_with("ada", "at-tool-2", "rt-tool-2", 3600));
    stage.advance(601);
    pool.sweep().await;
    let why = notice(&pool).await.unwrap();
    assert!(why.contains("was renewed by its tool") && why.contains(&format!("claviger account take {id}")), "{why}");
    assert_eq!(stage.simulator.ledger().refreshes(), 0, "to send the old one would end the login for both");
    // Taken again, it serves again.
    let again = pool.account_take(id).await.unwrap();
    assert_eq!((again.outcome, again.account.notice), (TakeOutcome::TakenOver, None));
    let admission = stage.admitted(&pool).await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool-2");
    assert_eq!(stage.simulator.ledger().reuses(), 0);
}

#[tokio::test]
async fn a_login_that_the_tool_renews_after_our_refresh_is_warned_about() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = followed(&stage, &pool, 600).await;
    pool.account_take(id).await.unwrap();
    stage.advance(601);
    let admission = stage.admitted(&pool).await;
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!((stage.simulator.ledger().refreshes(), notice(&pool).await), (1, None));
    keep(&path, &stage.simulator.control().grant_issue_with("ada", "at-tool-2", "rt-tool-2", 3600));
    pool.sweep().await;
    assert!(notice(&pool).await.unwrap().contains("was renewed by its tool"));
    std::fs::remove_file(&path).unwrap();
    pool.sweep().await;
    assert_eq!(notice(&pool).await, None);
}

#[tokio::test]
async fn a_file_without_a_refresh_token_is_not_taken_over() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = followed(&stage, &pool, 3600).await;
    let later = stage.clock.now().0 + 7_200_000;
    for (text, why) in [
        (format!(r#"{{"claudeAiOauth":{{"accessToken":"at-tool","refreshToken":"","expiresAt":{later}}}}}"#), "it holds no refresh token"),
        (r#"{"claudeAiOauth":{"accessToken":"at-x","refreshToken":"rt-x","expiresAt":1}}"#.to_owned(), "an older login"),
        ("{}".to_owned(), "the tool is logged out"),
        ("{".to_owned(), "not what the tool writes"),
    ] {
        std::fs::write(&path, text).unwrap();
        let refusal = pool.account_take(id).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Refused);
        assert!(refusal.message.contains(why) && refusal.message.contains(".credentials.json"), "{}", refusal.message);
        assert!(refusal.hint.unwrap().contains(&format!("claviger login {PROVIDER}")));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(pool.account_take(id).await.unwrap_err().message.contains("it is gone"));
    let shown = pool.account_list().await.unwrap().accounts.remove(0);
    assert_eq!(shown.follows, Some(path.display().to_string()), "it is followed as before");
}

/// Stops at a site.
#[derive(Debug)]
struct StopAt(&'static str);

impl Failpoint for StopAt {
    fn pass<'a>(&'a self, site: &'static str) -> claviger_runtime::BoxFuture<'a, Result<(), String>> {
        let stops = site == self.0;
        Box::pin(async move { if stops { Err("stopped".to_owned()) } else { Ok(()) } })
    }
}

#[tokio::test]
async fn a_take_that_stops_half_way_leaves_the_login_followed() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool_with(Arc::new(StopAt("take.read"))).await;
    let (id, path) = followed(&stage, &pool, 3600).await;
    assert!(pool.account_take(id).await.is_err());
    let shown = pool.account_list().await.unwrap().accounts.remove(0);
    assert_eq!((shown.follows, shown.grant_revision), (Some(path.display().to_string()), 1));
}
