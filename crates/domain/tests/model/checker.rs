//! Breadth-first search through all states, with the shortest way to a broken promise.
//!
//! Our own, and not stateright: that brings a web server, a second `rand`, and versions of `getrandom` and `hashbrown` beside
//! ours, which `deny.toml` refuses. shuttle explores schedules of threads at random and knows no faults; here the executor is a
//! list of places where something can happen, and all that is needed is a queue and a set.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A set of worlds.
pub(crate) type Seen<W> = HashSet<W, BuildHasherDefault<Folded>>;

/// A hash that is quick without optimisation, as tests are built; nobody chooses our worlds to make them collide.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.cast_unsigned() as u64);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Something that can happen.
pub(crate) struct Move<W> {
    /// What, for the trace.
    pub(crate) what: Cow<'static, str>,
    /// The world afterwards.
    pub(crate) next: W,
    /// The promise that it breaks.
    pub(crate) broken: Option<&'static str>,
}

/// What a search went through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) moves: usize,
    pub(crate) depth: usize,
}

/// The shortest way to a broken promise.
pub(crate) struct Counterexample {
    pub(crate) broken: &'static str,
    pub(crate) steps: Vec<Cow<'static, str>>,
}

impl Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "broken: {}", self.broken)?;
        (1..).zip(&self.steps).try_for_each(|(number, step)| writeln!(f, "{number:3}. {step}"))
    }
}

/// Where a state was found first: from which state, by which of its moves.
#[derive(Clone, Copy)]
struct Found {
    from: usize,
    by: usize,
}

/// Visits every state that can be reached from `start`. `judge` says what is wrong with a state.
pub(crate) fn explore<W: Clone + Eq + Hash>(
    start: &W,
    moves: impl Fn(&W) -> Vec<Move<W>>,
    mut judge: impl FnMut(&W) -> Option<&'static str>,
) -> Result<Explored, Counterexample> {
    let mut seen: Seen<W> = Seen::from_iter([start.clone()]);
    let mut found: Vec<Found> = vec![Found { from: 0, by: 0 }];
    let mut frontier = vec![(0, start.clone())];
    let mut explored = Explored { states: 1, moves: 0, depth: 0 };
    while !frontier.is_empty() {
        explored.depth += 1;
        let mut following = Vec::new();
        for (number, world) in frontier {
            if let Some(broken) = judge(&world) {
                return Err(Counterexample { broken, steps: way(start, &found, number, None, &moves) });
            }
            for (by, taken) in moves(&world).into_iter().enumerate() {
                explored.moves += 1;
                if let Some(broken) = taken.broken {
                    return Err(Counterexample { broken, steps: way(start, &found, number, Some(by), &moves) });
                }
                if seen.insert(taken.next.clone()) {
                    following.push((found.len(), taken.next));
                    found.push(Found { from: number, by });
                }
            }
        }
        frontier = following;
    }
    explored.states = seen.len();
    Ok(explored)
}

/// The steps to a state and its last move, found again by taking the same moves.
fn way<W: Clone>(
    start: &W,
    found: &[Found],
    to: usize,
    last: Option<usize>,
    moves: &impl Fn(&W) -> Vec<Move<W>>,
) -> Vec<Cow<'static, str>> {
    let mut choices: Vec<usize> = last.into_iter().collect();
    let mut at = to;
    while at != 0 {
        choices.push(found[at].by);
        at = found[at].from;
    }
    let mut world = start.clone();
    let mut steps = Vec::new();
    for choice in choices.into_iter().rev() {
        let taken = moves(&world).swap_remove(choice);
        steps.push(taken.what);
        world = taken.next;
    }
    steps
}
