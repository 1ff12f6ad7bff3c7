//! Every answer of the corpus over HTTP, through the whole pool: what is stored moves for a token and a listed death alone,
//! and nothing that a body said is in a log or an error.

use crate::endpoint::{Endpoint, REFRESH};
use crate::stage::{PROVIDER, Stage};
use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, StandingView, TokenAsk};
use claviger_domain::id::{AccountId, GrantId};
use claviger_pool::Pool;
use claviger_simulator::{Rotation, TokenOutcome};
use claviger_store::{GrantRow, GrantSecret, SqliteStore, Store};
use claviger_testkit::leak::canary_search;
use claviger_testkit::token_answers::{CorpusRule, TokenAnswerCase, token_answers};
use claviger_testkit::{Failpoints, proof_row};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A second provider, at which status 401 without a code is final.
const FINAL_401: &str = "kimi-code";
/// So many accounts share a vault: each added one costs the pool a new order of all.
const ACCOUNTS: usize = 12;

#[tokio::test]
async fn with_strict_rotation_what_is_stored_moves_for_a_token_and_a_listed_death_alone() {
    check(Rotation::Strict, "strict").await;
}

#[tokio::test]
async fn with_a_grace_window_what_is_stored_moves_for_a_token_and_a_listed_death_alone() {
    check(Rotation::Grace { grace_s: 60 }, "grace").await;
}

#[tokio::test]
async fn without_rotation_what_is_stored_moves_for_a_token_and_a_listed_death_alone() {
    check(Rotation::None, "non-rotating").await;
}

async fn check(rotation: Rotation, profile: &str) {
    log_everything();
    let cases = token_answers();
    let mut faults = Vec::new();
    let mut waited = 0;
    for cases in cases.chunks(ACCOUNTS) {
        let played = Played::new(rotation, cases).await;
        for case in cases {
            if let Some(fault) = played.fault(case).await {
                faults.push(format!("{}: {fault}", case.name));
            }
        }
        waited += played.check_waits(cases).await;
        played.check_errors().await;
    }
    assert_eq!(faults, Vec::<String>::new());
    assert!(waited > 4, "{waited} grants were told when to come back");
    let log = logged();
    assert!(log.contains("an answer to a refresh is not a token") && log.contains("no answer to a refresh"), "the log was not kept");
    let leaks: Vec<&str> = log.lines().filter(|line| line.to_ascii_lowercase().contains("canary")).collect();
    assert_eq!(leaks, [] as [&str; 0]);
    let runs = u64::try_from(cases.len()).unwrap();
    proof_row(&format!("bad answers: through the pool, {profile}"), runs, runs, "0 grants changed, 0 words of a body in logs");
}

#[tokio::test]
async fn an_answer_in_its_slot_and_all_else_on_disk_show_no_secret() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    let issued = stage.simulator.control().grant_issue_with("ada", "canary-live-0b5d8e12c7fa", "canary-rt-77aa03b1e95c", -10);
    stage.add(&pool, &issued, "ada", None).await;
    failpoints.fail("answer.spilled", "stop here");
    pool.sweep().await;
    let posts = stage.simulator.ledger().token_posts();
    let TokenOutcome::Rotated { access, refresh } = &posts[0].outcome else { panic!("{posts:?}") };
    let secrets = [issued.access.as_str(), &issued.refresh, access, refresh];
    let slots = stage.slots();
    assert!(std::fs::read(&slots[0]).unwrap().iter().any(|byte| *byte != 0), "the answer is in its slot");
    let mut searched = 0;
    for folder in [stage.home(), stage.home().join("spill")] {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            assert_eq!(canary_search(&std::fs::read(&path).unwrap(), &secrets), [], "in {}", path.display());
            searched += 1;
        }
    }
    proof_row("canaries: on disk with an answer in its slot", searched, searched, "0 hits");
}

/// The corpus, played once: an account for each answer, whose token was due.
struct Played {
    stage: Stage,
    pool: Pool,
    endpoint: Endpoint,
    accounts: BTreeMap<String, (AccountId, GrantId)>,
    store: SqliteStore,
}

impl Played {
    async fn new(rotation: Rotation, cases: &[TokenAnswerCase]) -> Self {
        let endpoint = Endpoint::of(cases.iter().map(|case| (case.name.clone(), case.bytes.clone())).collect()).await;
        let stage = Stage::new(rotation).await;
        let overlay =
            stage.overlay_at(PROVIDER, endpoint.origin(), "") + &stage.overlay_at(FINAL_401, endpoint.origin(), "dead_statuses = [401]\n");
        std::fs::write(stage.overlay().join("stage.toml"), overlay).unwrap();
        let pool = stage.pool().await;
        let mut accounts = BTreeMap::new();
        for case in cases {
            let provider = if case.rule == CorpusRule::Plain { PROVIDER } else { FINAL_401 };
            let credential = CredentialAdd::Oauth {
                access: Exposed::new(live(&case.name)),
                refresh: Some(Exposed::new(format!("{REFRESH}{}", case.name))),
                expires_at: Some(stage.clock.now().plus(Duration::from_hours(1))),
            };
            let add = AccountAdd { provider: provider.into(), ..Stage::draft(&case.name, credential) };
            let added = pool.account_add(add).await.unwrap().account;
            accounts.insert(case.name.clone(), (AccountId(added.id), GrantId(added.grant)));
        }
        // Due, with enough of its life left that it serves on.
        stage.advance(3100);
        pool.sweep().await;
        let store = SqliteStore::open(&stage.home(), &stage.root_key(), &*stage.clock).unwrap();
        Self { stage, pool, endpoint, accounts, store }
    }

    /// What is not as the table says.
    async fn fault(&self, case: &TokenAnswerCase) -> Option<String> {
        let (account, grant) = *self.accounts.get(&case.name).unwrap();
        let row = self.store.grant_load(grant).await.unwrap().unwrap();
        let listed = self.pool.account_list().await.unwrap().accounts;
        let standing = &listed.iter().find(|view| view.id == account.0).unwrap().standing;
        let (access, refresh) = secrets(&row);
        let name = &case.name;
        let mut words = case.wire.split(' ');
        let expected = match (words.next().unwrap(), words.next()) {
            ("token", Some("rotated")) => (2, format!("canary-access-{name}"), rotated(case)),
            ("token", _) => (2, format!("canary-access-{name}"), format!("{REFRESH}{name}")),
            _ => (1, live(name), format!("{REFRESH}{name}")),
        };
        let stored = (row.revision.0, access.to_owned(), refresh.to_owned());
        if stored != expected {
            return Some(format!("stored {stored:?} for {}", case.wire));
        }
        let stands = match (standing, case.wire.strip_prefix("dead ")) {
            (StandingView::NeedsLogin { cause }, Some(code)) => cause.contains(&format!("({code})")),
            (StandingView::Active, None) => true,
            _ => false,
        };
        let lost = case.wire.starts_with("ambiguous") || case.wire == "no_answer";
        let sent = if lost && self.stage.rotation != Rotation::Strict { 2 } else { 1 };
        // An answer that may have consumed the token stays in the journal, except where it is not consumed by being sent.
        let open = lost && self.stage.rotation != Rotation::None;
        let seen = (stands, self.endpoint.posts(name), row.intent.is_some());
        (seen != (true, sent, open)).then(|| format!("{standing:?}, sent and journalled {seen:?} for {}", case.wire))
    }

    /// A grant that was put off is left alone for as long as the endpoint said, and asked for again then. Gives how
    /// many were told.
    async fn check_waits(&self, cases: &[TokenAnswerCase]) -> usize {
        let waits: Vec<(&str, u64)> = cases
            .iter()
            .filter(|case| case.wire.starts_with("transient"))
            .filter_map(|case| Some((case.name.as_str(), case.wire.rsplit(' ').next()?.parse().ok()?)))
            .collect();
        let mut at = 0;
        for look_at in [4, 31, 121] {
            self.stage.advance(look_at - at);
            at = look_at;
            self.pool.sweep().await;
            for (name, wait) in &waits {
                assert_eq!(self.endpoint.posts(name) > 1, *wait <= at, "{name} was told to wait {wait} s, {at} s ago");
            }
        }
        waits.len()
    }

    /// What people see of it says nothing of a body either.
    async fn check_errors(&self) {
        let listed = self.pool.account_list().await.unwrap();
        assert!(!serde_json::to_string(&listed).unwrap().contains("canary"));
        for (account, _) in self.accounts.values() {
            let ask = TokenAsk { provider: PROVIDER.into(), account: Some(account.0), all: false, session: None, actor: "test".into() };
            if let Err(error) = self.pool.token(ask).await {
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
        }
    }
}

fn live(name: &str) -> String {
    format!("canary-live-{name}")
}

/// The refresh token that an answer with one brings.
fn rotated(case: &TokenAnswerCase) -> String {
    let prefix = if case.name == "refresh_unchanged" { REFRESH } else { "canary-refresh-" };
    format!("{prefix}{}", case.name)
}

fn secrets(row: &GrantRow) -> (&str, &str) {
    match &row.secret {
        GrantSecret::OAuth { access, refresh: Some(refresh) } => (access.expose(), refresh.expose()),
        _ => panic!("a login with both tokens"),
    }
}

/// What the whole process logs, from its first line on.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_everything() {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(|| Log).finish();
    // Another test of this process may have done so before.
    drop(tracing::subscriber::set_global_default(subscriber));
}

fn logged() -> String {
    String::from_utf8(LOG.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
}
