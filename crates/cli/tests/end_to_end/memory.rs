//! What stays in the memory of a server of the refresh tokens that it has used up.

use crate::stage::{Stage, post};
use claviger_simulator::{LlmFault, Rotation, TokenOutcome};
use claviger_testkit::{PROOF_TABLE, proof_row};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

const CHECK: &str = "memory: used refresh tokens that stay in a server";
/// Refreshes of the proof, and of an ordinary run of the tests.
const REFRESHES: (usize, usize) = (1000, 200);

/// How many of the used refresh tokens may be found, however many there were: buffers of the HTTP client and of the allocator are
/// not ours to overwrite.
const LEFT_MAX: usize = 10;

/// How the simulator's tokens begin; `at-` or `rt-` follows, and 16 hexadecimal digits.
const PREFIX: &[u8] = b"sim-";
const TOKEN_BYTES: usize = PREFIX.len() + 3 + 16;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_used_refresh_tokens_hardly_any_stays_in_memory() {
    let refreshes = refreshes();
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    let issued = control.grant_issue_with("ada", "at-ada", "rt-ada", 3600);
    let login = format!(
        r#"{{"type":"oauth","access":"{}","refresh":"{}","expires":{},"email":"ada@example.com"}}"#,
        issued.access, issued.refresh, issued.expires_at_ms
    );
    std::fs::write(stage.path("login.json"), login).unwrap();
    stage.run(&["account", "add", "anthropic", "--from-json", stage.path("login.json").to_str().unwrap()]);
    let served = stage.serve();
    let key = stage.key_for(1);
    for round in 0..refreshes {
        // Refused once: it is refreshed, and the request repeated.
        control.llm_fault_for("ada", LlmFault::Unauthorized, 1);
        let (status, body) = post(&served.origin, "/v1/messages", &key).await;
        assert_eq!(status, 200, "request {round}: {body}");
    }
    let posts = stage.simulator.ledger().token_posts();
    let used: HashSet<&[u8]> = posts.iter().filter_map(|post| Some(post.refresh_token.as_ref()?.as_bytes())).collect();
    assert_eq!(used.len(), refreshes);
    let TokenOutcome::Rotated { access: in_use, .. } = &posts.last().unwrap().outcome else { panic!("{:?}", posts.last()) };

    let Some(found) = found_in(served.pid()) else {
        return proof_row(CHECK, 0, 0, "not run: only root reads the memory of a server");
    };
    // The control: the access token in use has to be there.
    assert!(found.contains_key(in_use.as_bytes()), "the search finds nothing at all");
    let left: Vec<usize> = found.iter().filter(|(token, _)| used.contains(token.as_slice())).map(|(_, copies)| *copies).collect();
    let access = found.keys().filter(|token| token.starts_with(b"sim-at-")).count();
    let copies = left.iter().sum::<usize>();
    let worst = format!("{} of {refreshes} left in {copies} copies, {LEFT_MAX} allowed; {access} access tokens", left.len());
    let held = left.len() <= LEFT_MAX;
    proof_row(CHECK, 1, held.into(), &worst);
    assert!(held, "{worst}");
}

#[expect(clippy::disallowed_methods, reason = "a run for the table of proof says so in its environment")]
fn refreshes() -> usize {
    if std::env::var_os(PROOF_TABLE).is_some() { REFRESHES.0 } else { REFRESHES.1 }
}

/// Every token of the simulator in the memory of a process, with its number of copies; `None` where it cannot be read.
fn found_in(pid: u32) -> Option<HashMap<Vec<u8>, usize>> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut found = HashMap::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut region = vec![0; usize::try_from(to - from).unwrap()];
        // Some regions are the kernel's own.
        if memory.read_exact_at(&mut region, from).is_err() {
            continue;
        }
        for (at, _) in region.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX) {
            if let Some(token) = region.get(at..at + TOKEN_BYTES) {
                *found.entry(token.to_vec()).or_default() += 1;
            }
        }
    }
    Some(found)
}
