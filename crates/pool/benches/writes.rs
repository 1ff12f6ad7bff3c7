//! `lease()` while the usage of accounts is written: 1,000 accounts, 10,000 keys, 1,000 reports a second.
//!
//! `cargo bench -p claviger-pool --bench writes` prints percentiles in microseconds: of `lease()` with and without writes, of what
//! a report costs the answer that brought it, and of ranking a provider and publishing its orders. Nothing is asserted: machines
//! are noisy, and what counts is the ratio of the lines.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod stage;

use claviger_contract::{Answer, Ask, Broker, Lease};
use claviger_domain::attempt::Attempts;
use claviger_domain::id::ProviderId;
use claviger_domain::session::SessionHash;
use claviger_domain::virtual_key::Presented;
use claviger_pool::Pool;
use claviger_runtime::{Clock, SystemClock};
use claviger_testkit::SimClock;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ACCOUNTS: usize = 1_000;
const KEYS: usize = 10_000;
/// Reports of one tick; 200 ticks a second.
const BATCH: u64 = 5;
const TICK: Duration = Duration::from_millis(5);
const PHASE: Duration = Duration::from_secs(8);
/// How often the server ranks a provider of which something was told, and what is told meanwhile.
const RANK_EVERY: Duration = Duration::from_millis(50);
const REPORTS_PER_RANKING: usize = 50;
const RANKINGS: usize = 1_000;
/// Rankings until all accounts have told something.
const WARM_UP: usize = 200;
/// A pause between leases, as requests have: the machine must have time for what is measured beside.
const PAUSE_SPINS: u32 = 2_000;

#[tokio::main]
async fn main() {
    let (pool, key) = stage::pool_with(ACCOUNTS, KEYS).await;
    let key: Arc<str> = key.into();
    pool.serve_background();
    println!("{:<58} {:>8} {:>8} {:>8} {:>8} {:>9}", "microseconds", "p50", "p99", "p99.9", "max", "calls");
    let leases = |pool: &Pool, key: &Arc<str>| {
        let (pool, key) = (pool.clone(), Arc::clone(key));
        tokio::task::spawn_blocking(move || lease_for(&pool, &key, PHASE))
    };
    print("lease(), nothing written", leases(&pool, &key).await.expect("the phase ends"));
    let writing = Arc::new(AtomicBool::new(true));
    let reports = report_while(&pool, &key, Arc::clone(&writing));
    let both = async {
        let leased = leases(&pool, &key).await.expect("the phase ends");
        writing.store(false, Ordering::Relaxed);
        leased
    };
    let (leased, reported) = tokio::join!(both, reports);
    print("lease(), 1,000 reports a second, orders ranked meanwhile", leased);
    print("a report taken over, on the task of its answer", reported);
    let (told, untold) = ranked().await;
    print("orders ranked and published, 50 reports since the last", told);
    print("the same, nothing told since", untold);
}

fn lease_for(pool: &Pool, key: &str, phase: Duration) -> Vec<u64> {
    let mut spent = Vec::with_capacity(4_000_000);
    let clock = SystemClock;
    let until = clock.boot() + phase;
    let mut number = 0;
    while clock.boot() < until {
        number += 1;
        let begun = clock.boot();
        with_lease(pool, key, number, |lease| {
            spent.push(nanos(clock.boot().saturating_sub(begun)));
            black_box(&lease);
        });
        for spin in 0..PAUSE_SPINS {
            black_box(spin);
        }
    }
    spent
}

/// Takes a lease for a new session. What comes before and after is not the lease's.
fn with_lease(pool: &Pool, key: &str, number: u64, taken: impl FnOnce(Lease<'_>)) {
    let presented = Presented::read(key).expect("the key was just made");
    let admission = pool.admit(&presented, None).expect("the key is good");
    let provider = ProviderId::new("anthropic").expect("a catalogue id");
    let attempts = Attempts::new();
    let session = Some(SessionHash::of(&[&number.to_le_bytes()]));
    let ask = Ask {
        admission: &admission,
        provider: &provider,
        session,
        model: None,
        model_prefix: None,
        own_client: true,
        account: None,
        attempts: &attempts,
        seed: number,
    };
    let Answer::Ready(lease) = pool.lease(&ask) else { panic!("all accounts are ready") };
    taken(lease);
}

/// Sends leases off and answers them with headers that tell another use each time, until told to stop.
async fn report_while(pool: &Pool, key: &Arc<str>, writing: Arc<AtomicBool>) -> Vec<u64> {
    let clock = SystemClock;
    let (mut spent, mut number) = (Vec::new(), 1 << 40);
    while writing.load(Ordering::Relaxed) {
        let begun = clock.boot();
        for _report in 0..BATCH {
            number += 1;
            spent.push(report_once(pool, key, (number, clock.now().as_secs())));
        }
        clock.sleep(TICK.saturating_sub(clock.boot().saturating_sub(begun))).await;
    }
    spent
}

fn report_once(pool: &Pool, key: &str, (number, now_s): (u64, i64)) -> u64 {
    let mut spent = 0;
    with_lease(pool, key, number, |lease| {
        let account = lease.facts().account.0.cast_unsigned();
        let mut parts = http::Request::new(()).into_parts().0;
        let attempt = lease.apply(&mut parts).expect("nothing rotates");
        let headers = usage_headers(account, number, now_s);
        spent = time_of(|| attempt.answered(StatusCode::OK, &headers));
    });
    spent
}

/// An account has used what its id says and a little more or less each time, so that some change their place and most keep it.
fn usage_headers(account: u64, number: u64, now_s: i64) -> HeaderMap {
    let fraction = |salt: u64| format!("0.{:03}", account.wrapping_mul(salt) % 700 + number.wrapping_mul(salt) % 100);
    let mut headers = HeaderMap::new();
    let texts = [
        ("anthropic-ratelimit-unified-5h-utilization", fraction(7919)),
        ("anthropic-ratelimit-unified-5h-reset", (now_s + 3600).to_string()),
        ("anthropic-ratelimit-unified-7d-utilization", fraction(104_729)),
        ("anthropic-ratelimit-unified-7d-reset", (now_s + 200_000).to_string()),
    ];
    for (name, text) in texts {
        headers.insert(name, HeaderValue::from_str(&text).expect("digits and dots"));
    }
    headers
}

/// Ranks the provider again and again: with the reports of [`RANK_EVERY`] before each time, and with nothing told since the last.
/// On a clock of its own that goes by, so that no report is left out for coming too soon after the last of its account.
async fn ranked() -> (Vec<u64>, Vec<u64>) {
    let clock = SimClock::new();
    let (pool, key) = stage::pool_on(Arc::new(clock.clone()), ACCOUNTS, 0).await;
    let mut number = 1 << 50;
    let (mut told, mut untold) = (Vec::new(), Vec::new());
    for turn in 0..WARM_UP + RANKINGS {
        clock.advance(RANK_EVERY);
        for _report in 0..REPORTS_PER_RANKING {
            number += 1;
            report_once(&pool, &key, (number, clock.now().as_secs()));
        }
        let spent = [time_of(|| pool.rank()), time_of(|| pool.rank())];
        if turn >= WARM_UP {
            told.push(spent[0]);
            untold.push(spent[1]);
        }
        // What follows from reports is done between rankings, as in a server.
        tokio::task::yield_now().await;
    }
    (told, untold)
}

fn time_of(work: impl FnOnce()) -> u64 {
    let begun = SystemClock.boot();
    work();
    nanos(SystemClock.boot().saturating_sub(begun))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn print(what: &str, mut spent: Vec<u64>) {
    spent.sort_unstable();
    let at = |share: usize| spent.get(spent.len().saturating_sub(1) * share / 1000).copied().unwrap_or(0) as f64 / 1000.0;
    println!("{what:<58} {:>8.2} {:>8.2} {:>8.2} {:>8.1} {:>9}", at(500), at(990), at(999), at(1000), spent.len());
}
