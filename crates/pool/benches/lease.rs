//! `lease()` and `apply()` through the real view, with a new session per call, at 1 to 10,000 accounts.
//!
//! `cargo bench -p claviger-pool --bench lease` prints nanoseconds per call: the median of several rounds, and the
//! ratio to one account. Nothing is asserted: machines are noisy.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod stage;

use claviger_contract::{Answer, Ask, Broker, Report};
use claviger_domain::attempt::Attempts;
use claviger_domain::classify::Class;
use claviger_domain::id::ProviderId;
use claviger_domain::session::SessionHash;
use claviger_domain::virtual_key::Presented;
use claviger_pool::Pool;
use claviger_runtime::{Clock, SystemClock};
use std::hint::black_box;

const CALLS: u64 = 20_000;
const ROUNDS: usize = 15;

#[tokio::main]
async fn main() {
    println!("{:>9} {:>14} {:>14} {:>18} {:>12}", "accounts", "lease ns", "+ apply ns", "+ accepted ns", "x of 1");
    let mut base = None;
    for accounts in [1_usize, 10, 100, 1_000, 10_000] {
        let (pool, key) = stage::pool_with(accounts, 0).await;
        let lease = median(|round| run(&pool, &key, round, Depth::Lease));
        let apply = median(|round| run(&pool, &key, round, Depth::Apply));
        let accepted = median(|round| run(&pool, &key, round, Depth::Accepted));
        let base = *base.get_or_insert(apply);
        println!("{accounts:>9} {lease:>14.0} {apply:>14.0} {accepted:>18.0} {:>12.2}", apply / base);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Lease,
    Apply,
    Accepted,
}

fn median(mut measure: impl FnMut(u64) -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS as u64).map(&mut measure).collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or(f64::NAN)
}

fn run(pool: &Pool, key: &str, round: u64, depth: Depth) -> f64 {
    let presented = Presented::read(key).expect("the key was just made");
    let admission = pool.admit(&presented, None).expect("the key is good");
    let provider = ProviderId::new("anthropic").expect("a catalogue id");
    let attempts = Attempts::new();
    let clock = SystemClock;
    let begun = clock.boot();
    for call in 0..CALLS {
        let session = Some(SessionHash::of(&[&(round * CALLS + call).to_le_bytes()]));
        let ask = Ask {
            admission: &admission,
            provider: &provider,
            session,
            model: None,
            model_prefix: None,
            own_client: true,
            account: None,
            attempts: &attempts,
            seed: call,
        };
        let Answer::Ready(lease) = pool.lease(&ask) else { panic!("all accounts are ready") };
        if depth == Depth::Lease {
            black_box(&lease);
            continue;
        }
        let mut parts = http::Request::new(()).into_parts().0;
        let attempt = lease.apply(&mut parts).expect("nothing rotates");
        black_box(&parts);
        if depth == Depth::Accepted {
            attempt.finish(Report::Seen(Class::Accepted));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let spent = clock.boot().saturating_sub(begun).as_nanos() as f64;
    spent / 20_000.0
}
