//! What nobody can do better: an upper bound on what any policy serves, by maximum flow.
//!
//! Requests may be split, sent anywhere without a cold cache, and known ahead; then serving is a flow: from each stretch of time, as
//! much as is asked in it at the least cost; through each account that is not out then, into the piece of its 5-hour window that
//! lies in one week; from there into that week. A 5-hour window that crosses a reset counts in full on both sides, which only
//! raises the bound.

use crate::demand::{Account, RUN, SHORT, Scene, WEEK};
use crate::world::Outcome;
use std::collections::HashMap;

/// A stretch of time in which the asked amounts are lumped. Windows and outages that begin or end within it cut it.
const STRETCH: f64 = 3600.0;
/// More than a run has stretches or windows.
const STEPS_MAX: u32 = 10_000;

/// The bound of a scene: what is refused and wasted at the least, both at once.
pub(crate) fn bound(scene: &Scene) -> Outcome {
    let cuts = cuts(scene);
    let mut flow = Flow::new(2);
    let mut asked = vec![0.0; cuts.len()];
    for request in &scene.requests {
        let at = cuts.partition_point(|cut| *cut <= request.at) - 1;
        asked[at] += request.least_cost;
    }
    let mut weeks: Vec<(usize, f64, f64)> = Vec::new();
    let mut held = 0.0;
    let sources: Vec<Option<usize>> = asked.iter().map(|amount| (*amount > 0.0).then(|| flow.source(*amount))).collect();
    for account in &scene.accounts {
        let (mut pieces, mut of_week) = (HashMap::new(), HashMap::new());
        for (from, source) in cuts.iter().zip(&sources) {
            let Some(source) = source.filter(|_| !account.is_out(*from)) else { continue };
            let (short, long) = windows(account, *from);
            let week = *of_week.entry(long).or_insert_with(|| {
                let node = flow.node();
                weeks.push((node, account.long - if long == 0 { account.used_before } else { 0.0 }, week_end(account, long)));
                node
            });
            let piece = *pieces.entry((short, long)).or_insert_with(|| {
                let node = flow.node();
                flow.edge(node, week, account.short);
                node
            });
            flow.edge(source, piece, f64::INFINITY);
        }
        held += account.long * f64::from(u32::try_from(ended_weeks(account)).unwrap_or(0));
    }
    // First what ends within the run, then the rest: no augmenting path takes back what has reached the sink, so that the least
    // waste and the least refusals come together.
    for (node, room, _) in weeks.iter().filter(|week| week.2 <= RUN) {
        flow.edge(*node, SINK, *room);
    }
    let useful = flow.run();
    for (node, room, _) in weeks.iter().filter(|week| week.2 > RUN) {
        flow.edge(*node, SINK, *room);
    }
    let served = useful + flow.run();
    let asked: f64 = asked.iter().sum();
    let before: f64 = scene.accounts.iter().filter(|account| account.long_phase + WEEK <= RUN).map(|account| account.used_before).sum();
    Outcome { asked, refused: asked - served, wasted: held - before - useful, held, ..Outcome::default() }
}

/// Every point at which anything changes, and one an hour.
fn cuts(scene: &Scene) -> Vec<f64> {
    let mut cuts: Vec<f64> = (0..STEPS_MAX).map(|step| f64::from(step) * STRETCH).take_while(|at| *at < RUN).collect();
    for account in &scene.accounts {
        cuts.extend((1..STEPS_MAX).map(|n| account.short_phase + f64::from(n) * SHORT).take_while(|at| *at < RUN));
        cuts.extend((1..STEPS_MAX).map(|n| account.long_phase + f64::from(n) * WEEK).take_while(|at| *at < RUN));
        cuts.extend(account.outages.iter().flat_map(|(from, to)| [*from, *to]).filter(|at| *at < RUN));
    }
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}

/// Which windows of an account a time lies in.
fn windows(account: &Account, at: f64) -> (u64, u64) {
    // The middle of a millisecond: cuts lie on the edges.
    let at = at + 0.000_5;
    (((at - account.short_phase) / SHORT) as u64, ((at - account.long_phase) / WEEK) as u64)
}

fn week_end(account: &Account, week: u64) -> f64 {
    account.long_phase + (week + 1) as f64 * WEEK
}

fn ended_weeks(account: &Account) -> usize {
    (0..u64::from(STEPS_MAX)).take_while(|week| week_end(account, *week) <= RUN).count()
}

const SOURCE: usize = 0;
const SINK: usize = 1;

/// Maximum flow after Dinic (1970), with amounts as floating-point numbers and a grain below which nothing flows.
struct Flow {
    /// Of each node, its edges by number.
    out: Vec<Vec<usize>>,
    /// (to, room left); the edge back is the number with its last bit flipped.
    edges: Vec<(usize, f64)>,
    level: Vec<u32>,
    next: Vec<usize>,
}

const GRAIN: f64 = 1e-7;

impl Flow {
    fn new(nodes: usize) -> Self {
        Self { out: vec![Vec::new(); nodes], edges: Vec::new(), level: Vec::new(), next: Vec::new() }
    }

    fn node(&mut self) -> usize {
        self.out.push(Vec::new());
        self.out.len() - 1
    }

    fn source(&mut self, amount: f64) -> usize {
        let node = self.node();
        self.edge(SOURCE, node, amount);
        node
    }

    fn edge(&mut self, from: usize, to: usize, room: f64) {
        self.out[from].push(self.edges.len());
        self.edges.push((to, room));
        self.out[to].push(self.edges.len());
        self.edges.push((from, 0.0));
    }

    /// Adds what still fits.
    fn run(&mut self) -> f64 {
        let mut total = 0.0;
        while self.layer() {
            self.next = vec![0; self.out.len()];
            loop {
                let pushed = self.push(SOURCE, f64::INFINITY);
                if pushed <= GRAIN {
                    break;
                }
                total += pushed;
            }
        }
        total
    }

    fn layer(&mut self) -> bool {
        self.level = vec![u32::MAX; self.out.len()];
        self.level[SOURCE] = 0;
        let mut queue = std::collections::VecDeque::from([SOURCE]);
        while let Some(node) = queue.pop_front() {
            for edge in &self.out[node] {
                let (to, room) = self.edges[*edge];
                if room > GRAIN && self.level[to] == u32::MAX {
                    self.level[to] = self.level[node] + 1;
                    queue.push_back(to);
                }
            }
        }
        self.level[SINK] != u32::MAX
    }

    fn push(&mut self, node: usize, most: f64) -> f64 {
        if node == SINK {
            return most;
        }
        let mut pushed = 0.0;
        while let Some(edge) = self.out[node].get(self.next[node]).copied() {
            let (to, room) = self.edges[edge];
            if room > GRAIN && self.level[to] == self.level[node] + 1 {
                let amount = self.push(to, room.min(most - pushed));
                self.edges[edge].1 -= amount;
                self.edges[edge ^ 1].1 += amount;
                pushed += amount;
                if most - pushed <= GRAIN {
                    return pushed;
                }
            }
            self.next[node] += 1;
        }
        pushed
    }
}
