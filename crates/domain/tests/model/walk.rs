//! Random walks through the same world, with more processes than the search has.

use crate::checker::Counterexample;
use crate::executor::Executor;
use crate::promises::Promises;
use crate::world::World;

/// Most things that happen in one walk.
const STEPS_MAX: usize = 120;

/// splitmix64: one seed, one walk.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// Walks from `start`. Answers how many things happened, or what was broken and on which way.
pub(crate) fn walk(executor: &Executor, promises: &mut Promises<'_>, start: &World, seed: u64) -> Result<usize, Counterexample> {
    let mut random = Random(seed);
    let mut world = start.clone();
    let mut way = Vec::new();
    for _step in 0..STEPS_MAX {
        let mut moves = executor.moves_of(&world, random.below(world.processes.len() + 1));
        if moves.is_empty() {
            // Only around the processes there may be nothing that happens now.
            continue;
        }
        // Every other time what goes well, lest no flight gets far.
        let calm = random.below(2) == 0;
        let taken = moves.swap_remove(if calm { 0 } else { random.below(moves.len()) });
        way.push(taken.what);
        if let Some(broken) = taken.broken.or_else(|| promises.judge(&taken.next)) {
            return Err(Counterexample { broken, steps: way });
        }
        world = taken.next;
    }
    Ok(way.len())
}
