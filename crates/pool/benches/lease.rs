//! `lease()` and `apply()` through the real view, with a new session per call, at 1, 100 and 1,000 accounts.
//!
//! `cargo bench -p claviger-pool --bench lease` prints nanoseconds per call: the median of several rounds, and the
//! ratio to one account. Nothing is asserted: machines are noisy.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView, KeyCreate, SourceWord};
use claviger_contract::{Answer, Ask, Broker, Report};
use claviger_domain::attempt::Attempts;
use claviger_domain::classify::Class;
use claviger_domain::id::ProviderId;
use claviger_domain::session::SessionHash;
use claviger_domain::virtual_key::Presented;
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::{Pool, PoolParts, PoolSettings};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, NoFailpoints, Supervisor, SystemClock};
use claviger_store::MemoryStore;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const CALLS: u64 = 20_000;
const ROUNDS: usize = 15;

#[tokio::main]
async fn main() {
    println!("{:>9} {:>14} {:>14} {:>18} {:>12}", "accounts", "lease ns", "+ apply ns", "+ accepted ns", "x of 1");
    let mut base = None;
    for accounts in [1_usize, 10, 100, 1_000] {
        let (pool, key) = pool_with(accounts).await;
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
        let ask = Ask { admission: &admission, provider: &provider, session, model: None, account: None, attempts: &attempts, seed: call };
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

async fn pool_with(accounts: usize) -> (Pool, String) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = PoolParts {
        store: Arc::new(MemoryStore::new()),
        egress: Egress::new(EgressConfig::default(), Arc::clone(&clock)),
        clock: Arc::clone(&clock),
        failpoints: Arc::new(NoFailpoints),
        supervisor: Arc::new(Supervisor::new()),
        settings: PoolSettings { catalogue: Arc::new(Catalogue::load(None).expect("the built-in catalogue compiles")), models: Vec::new() },
    };
    let pool = Pool::open(parts).await.expect("an empty vault opens");
    let adds = (0..accounts).map(|number| AccountAdd {
        row: format!("row {number}"),
        provider: "anthropic".into(),
        credential: CredentialAdd::Oauth {
            access: Exposed::new(format!("at-{number}-{}", "x".repeat(100))),
            refresh: Some(Exposed::new(format!("rt-{number}"))),
            expires_at: Some(clock.now().plus(Duration::from_hours(8))),
        },
        identity: IdentityView { email: Some(format!("user{number}@example.com")), ..IdentityView::default() },
        label: None,
        source: SourceWord::Login,
        disabled: None,
        blocks: Vec::new(),
        follows: None,
    });
    let report = pool.account_import(adds.collect()).await.expect("the vault takes accounts");
    assert_eq!(report.imported.len(), accounts);
    let created = pool.key_create(KeyCreate::default()).await.expect("the vault takes a key");
    (pool, created.key.expose().to_owned())
}
