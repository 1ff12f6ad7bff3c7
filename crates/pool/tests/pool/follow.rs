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

/// What the account's owner is told of its file.
fn notice(pool: &Pool, id: AccountId) -> impl Future<Output = Option<String>> {
    let list = pool.account_list();
    async move { list.await.unwrap().accounts.into_iter().find(|account| account.id == id.0).unwrap().notice }
}

#[tokio::test]
async fn a_file_that_vanishes_leaves_the_last_token_and_says_why() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = follow(&stage, &pool, 3600).await;
    let admission = stage.admitted(&pool).await;
    pool.sweep().await;
    assert_eq!(notice(&pool, id).await, None);
    std::fs::remove_file(&path).unwrap();
    stage.advance(31);
    pool.sweep().await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool");
    let why = notice(&pool, id).await.unwrap();
    assert_eq!(why, format!("{}: it is gone; the token that is here serves until it ends", path.display()));
    // The tool writes it anew, under another name first.
    let beside = path.with_extension("new");
    write(&beside, "at-tool-2", Timestamp(stage.clock.now().0 + 7_200_000));
    std::fs::rename(&beside, &path).unwrap();
    stage.advance(31);
    pool.sweep().await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool-2");
    assert_eq!(notice(&pool, id).await, None);
}

#[tokio::test]
async fn a_stub_or_an_older_login_never_takes_the_place_of_a_newer_one() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, path) = follow(&stage, &pool, 3600).await;
    let admission = stage.admitted(&pool).await;
    let ended = stage.clock.now().0 - 1000;
    for (text, why) in [
        (r#"{"claudeAiOauth":{"accessToken":"","refreshToken":""}}"#.to_owned(), "the tool is logged out"),
        (format!(r#"{{"claudeAiOauth":{{"accessToken":"at-x","expiresAt":{ended}}}}}"#), "its tool is logged out"),
        ("{}".to_owned(), "the tool is logged out"),
        (r#"{"claudeAiOauth":{"acc"#.to_owned(), "not what the tool writes"),
        (format!(r#"{{"claudeAiOauth":{{"accessToken":"at-x","refreshToken":"rt-x","expiresAt":{}}}}}"#, ended + 60_000), "an older login"),
    ] {
        std::fs::write(&path, &text).unwrap();
        stage.advance(31);
        pool.sweep().await;
        assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-tool", "{text}");
        let notice = notice(&pool, id).await.unwrap();
        assert!(notice.contains(why) && !notice.contains("at-x"), "{notice}");
    }
}

async fn import(pool: &Pool, path: &Path, access: &str, expires_at: Timestamp) -> Result<AccountId, String> {
    let credential = CredentialAdd::Oauth { access: Exposed::new(access.to_owned()), refresh: None, expires_at: Some(expires_at) };
    let source = claviger_admin::SourceWord::Imported;
    let add = AccountAdd { follows: Some(path.display().to_string()), source, ..Stage::draft("ada", credential) };
    let report = pool.account_import(vec![add]).await.unwrap();
    match (report.imported.first(), report.skipped.first()) {
        (Some(added), None) => Ok(AccountId(added.account.id)),
        (_, skipped) => Err(skipped.unwrap().why.clone()),
    }
}

#[tokio::test]
async fn of_several_files_of_one_account_the_newest_login_is_followed() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, first) = follow(&stage, &pool, 3600).await;
    let second = stage.folder.path().join("second.json");
    let (older, newer) = (Timestamp(stage.clock.now().0 + 60_000), Timestamp(stage.clock.now().0 + 7_200_000));
    let why = import(&pool, &second, "at-older", older).await.unwrap_err();
    assert!(why.contains("an older login of account"), "{why}");
    assert_eq!(import(&pool, &second, "at-newer", newer).await.unwrap(), id);
    write(&second, "at-newer", newer);
    let shown = pool.account_list().await.unwrap().accounts.remove(0);
    assert_eq!(shown.follows, Some(second.display().to_string()));
    // What the first file says from then on is nobody's business.
    write(&first, "at-first", Timestamp(newer.0 + 1000));
    pool.sweep().await;
    let admission = stage.admitted(&pool).await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-newer");
}

#[tokio::test]
async fn a_login_of_our_own_is_never_given_up_for_one_that_is_followed() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, _) = stage.login(&pool, "ada", 3600).await;
    let later = Timestamp(stage.clock.now().0 + 7_200_000);
    let why = import(&pool, Path::new("/x/login.json"), "at-tool", later).await.unwrap_err();
    assert!(why.starts_with(&format!("account {id} has a login of its own that is refreshed here")), "{why}");
    assert_eq!(pool.account_list().await.unwrap().accounts[0].follows, None);
}

#[tokio::test]
async fn a_file_that_names_no_owner_is_followed_by_one_account() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let path = stage.folder.path().join(".credentials.json");
    let import = async |access: &str, lifetime_s: i64| {
        let expires_at = Timestamp(stage.clock.now().0 + lifetime_s * 1000);
        write(&path, access, expires_at);
        let credential = CredentialAdd::Oauth { access: Exposed::new(access.to_owned()), refresh: None, expires_at: Some(expires_at) };
        let draft = Stage::draft("ada", credential);
        let (follows, source) = (Some(path.display().to_string()), claviger_admin::SourceWord::Imported);
        let add = AccountAdd { follows, source, identity: IdentityView::default(), ..draft };
        pool.account_import(vec![add]).await.unwrap()
    };
    let first = import("at-1", 3600).await.imported.remove(0).account.id;
    let second = import("at-2", 7200).await.imported.remove(0);
    assert_eq!((second.account.id, second.account.grant_revision), (first, 2));
    assert!(import("at-0", 60).await.skipped[0].why.contains("an older login"));
    // Once it is taken over, it is not followed again beside that.
    write(&path, "at-2", Timestamp(stage.clock.now().0 + 7_200_000));
    pool.account_take(AccountId(first)).await.unwrap();
    let why = import("at-3", 9000).await.skipped.remove(0).why;
    assert!(why.contains("was taken over from") && why.contains(&format!("claviger account take {first}")), "{why}");
    assert_eq!(pool.account_list().await.unwrap().accounts.len(), 1);
}
