//! Endless and stuck answers of a token endpoint: what they cost in memory, and when they are given up. A binary of one test,
//! since what it measures is the memory of its whole process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

use claviger_admin::{Admin, CredentialAdd, Exposed};
use claviger_domain::id::{AccountId, GrantId};
use claviger_pool::Pool;
use claviger_simulator::Rotation;
use claviger_store::{SqliteStore, Store};
use claviger_testkit::token_answers::token_answers;
use claviger_testkit::{SimClock, proof_row};
use endpoint::{Answer, Endpoint, REFRESH};
use stage::{PROVIDER, Stage};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[expect(dead_code, reason = "the endpoint of the other tests, of which this one needs a part")]
#[path = "../pool/endpoint.rs"]
mod endpoint;
#[expect(dead_code, reason = "the stage of the other tests, of which this one needs a part")]
#[path = "../pool/stage.rs"]
mod stage;

const PIECE: usize = 64 * 1024;
const TEN_GB: u64 = 10 * 1024 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

/// How much memory one answer may cost, whatever it is.
const ANSWER_COST_MAX: u64 = 8 * MIB;
/// How much memory one call may cost that is stuck.
const STUCK_COST_MAX: u64 = MIB;
/// Calls that are stuck at the same time: as many as a sweep sends.
const STUCK: u32 = 16;
/// How long the provider of the stage has for an answer.
const DEADLINE_S: u64 = 30;

/// How each endless answer begins, and what it goes on with for 10 GB.
fn endless() -> BTreeMap<&'static str, (String, Vec<u8>)> {
    let letters = vec![b'a'; PIECE];
    let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &letters, b"\r\n"].concat();
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    let chunked = |rest: &str| ok(&format!("transfer-encoding: chunked\r\n\r\n{rest}"));
    BTreeMap::from([
        ("body_with_length", (ok(&format!("content-length: {TEN_GB}\r\n\r\n{{\"access_token\":\"")), letters.clone())),
        ("body_in_chunks", (chunked("11\r\n{\"access_token\":\"\r\n"), chunk)),
        ("body_until_close", (ok("\r\n{\"access_token\":\""), letters.clone())),
        ("body_in_one_byte_chunks", (chunked(""), b"1\r\na\r\n".repeat(PIECE / 6))),
        ("chunk_size", (chunked(""), vec![b'0'; PIECE])),
        ("chunk_extension", (chunked("5;"), letters.clone())),
        ("trailer", (chunked("0\r\nx: "), letters.clone())),
        ("trailers", (chunked("0\r\n"), b"x: y\r\n".repeat(PIECE / 6))),
        ("status_line", ("HTTP/1.1 200 ".to_owned(), letters.clone())),
        ("header", (ok("x: "), letters)),
        ("headers", (ok(""), b"x: y\r\n".repeat(PIECE / 6))),
        ("blank_lines", (String::new(), b"\r\n".repeat(PIECE / 2))),
        ("interim_answers", (String::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(PIECE / 25))),
    ])
}

#[tokio::test]
async fn no_answer_costs_more_than_its_bound_and_none_holds_its_grant_beyond_the_deadline() {
    let mut worst = (0, "");
    let clock = SimClock::new();
    let written = Arc::new(Mutex::new(0_u64));
    let bomb = token_answers().into_iter().find(|case| case.name == "shape_gzip_bomb").unwrap().bytes;
    let good = token_answers().into_iter().find(|case| case.name == "token").unwrap().bytes;
    let endpoint = Endpoint::start(answers(clock.clone(), Arc::clone(&written), vec![("bomb", bomb), ("good", good)])).await;
    let stage = Stage::with_clock(Rotation::Strict, Arc::new(clock.clone()), Some(clock.clone())).await;
    std::fs::write(stage.overlay().join("stage.toml"), stage.overlay_at(PROVIDER, endpoint.origin(), "")).unwrap();
    let pool = stage.pool().await;

    // The first flight of a process costs what the process needs anyway.
    assert_eq!(refresh(&stage, &pool, "good").await, 2);
    let names: Vec<_> = endless().into_keys().chain(["bomb"]).collect();
    for name in &names {
        let before = forget_peak();
        let revision = refresh(&stage, &pool, name).await;
        let cost = memory("VmHWM").saturating_sub(before);
        assert!(cost < ANSWER_COST_MAX, "{name} cost {cost} bytes");
        assert_eq!((revision, endpoint.posts(name)), (1, 1), "{name}");
        worst = worst.max((cost, name));
    }
    let sent = *written.lock().unwrap() / MIB;
    let runs = u64::try_from(names.len()).unwrap();
    proof_row(
        "bad answers: endless ones and a gzip bomb",
        runs,
        runs,
        &format!("{} KiB for {} ({sent} MiB taken in all)", worst.0 / 1024, worst.1),
    );

    let cost = stuck(&stage, &pool, &endpoint, &clock).await;
    assert!(cost < STUCK_COST_MAX, "a stuck call costs {cost} bytes");
    proof_row("bad answers: stuck calls end at their deadline", STUCK.into(), STUCK.into(), &format!("{} KiB for each", cost / 1024));
}

/// Calls that get half of an answer and then nothing: what each costs, and that its grant is free again at the deadline.
async fn stuck(stage: &Stage, pool: &Pool, endpoint: &Endpoint, clock: &SimClock) -> u64 {
    let mut grants = Vec::new();
    for number in 0..STUCK {
        grants.push(add(stage, pool, &format!("stuck{number}")).await.1);
    }
    stage.advance(3100);
    let store = SqliteStore::open(&stage.home(), &stage.root_key(), clock).unwrap();
    let posts = || (0..STUCK).map(|number| endpoint.posts(&format!("stuck{number}"))).sum::<u32>();
    let before = forget_peak();
    let mut cost = 0;
    let (before_deadline, after) = (Duration::from_secs(DEADLINE_S - 1), Duration::from_secs(1));
    let mut sweep = std::pin::pin!(pool.sweep());
    tokio::select! {
        () = &mut sweep => panic!("the answers are held"),
        () = async {
            while posts() < STUCK {
                tokio::task::yield_now().await;
            }
            cost = memory("VmHWM").saturating_sub(before) / u64::from(STUCK);
            clock.advance(before_deadline);
            for _turn in 0..1000 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    assert!(grants.iter().all(|grant| store.grant_lock(*grant).unwrap().is_none()), "a call ended before its deadline");
    clock.advance(after);
    sweep.await;
    assert!(grants.iter().all(|grant| store.grant_lock(*grant).unwrap().is_some()), "a call outlives its deadline");
    cost
}

/// An account of this name, whose refresh token asks for the answer of this name.
async fn add(stage: &Stage, pool: &Pool, name: &str) -> (AccountId, GrantId) {
    let credential = CredentialAdd::Oauth {
        access: Exposed::new(format!("at-{name}")),
        refresh: Some(Exposed::new(format!("{REFRESH}{name}"))),
        expires_at: Some(stage.clock.now().plus(Duration::from_hours(1))),
    };
    let account = pool.account_add(Stage::draft(name, credential)).await.unwrap().account;
    (AccountId(account.id), GrantId(account.grant))
}

/// Refreshes the account of this name, which is there for that alone, and gives the revision of its grant.
async fn refresh(stage: &Stage, pool: &Pool, name: &str) -> u64 {
    let (account, _) = add(stage, pool, name).await;
    stage.advance(3100);
    pool.sweep().await;
    let revision = pool.account_list().await.unwrap().accounts.iter().map(|account| account.grant_revision).max();
    pool.account_remove(account).await.unwrap();
    revision.unwrap()
}

/// Answers by name; time goes by while an endless answer is sent.
fn answers(clock: SimClock, written: Arc<Mutex<u64>>, whole: Vec<(&'static str, Vec<u8>)>) -> Answer {
    // Made once: what this side needs is measured with the rest.
    let endless = Arc::new(endless());
    Arc::new(move |name, mut stream| {
        let (clock, written, endless) = (clock.clone(), Arc::clone(&written), Arc::clone(&endless));
        let whole = whole.iter().find(|(found, _)| *found == name).map(|(_, bytes)| bytes.clone());
        Box::pin(async move {
            match (whole, endless.get(name.as_str())) {
                (Some(bytes), _) => stream.write_all(&bytes).await.unwrap(),
                (None, Some((head, piece))) => flood(&mut stream, head, piece, &clock, &written).await,
                (None, None) => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access_token\":\"at").await.unwrap();
                    std::future::pending::<()>().await;
                }
            }
        })
    })
}

/// Sends until the other side has had enough, which is what is tested, or 10 GB are gone.
async fn flood(stream: &mut TcpStream, head: &str, piece: &[u8], clock: &SimClock, written: &Mutex<u64>) {
    let mut sent = 0;
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    while sent < TEN_GB && stream.write_all(piece).await.is_ok() {
        sent += u64::try_from(piece.len()).unwrap();
        *written.lock().unwrap() += u64::try_from(piece.len()).unwrap();
        clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert!(sent < TEN_GB, "somebody took 10 GB");
}

/// Forgets the peak so far, and gives what is in use.
fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS")
}

/// A line of this process's status, in bytes.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    kib.unwrap().trim().parse::<u64>().unwrap() * 1024
}
