//! What must hold of every state, and where every state must lead.

use crate::checker::Seen;
use crate::executor::Executor;
use crate::world::{Ask, ENDED, Process, Profile, Stage, Whose, World};

/// Flights that may be needed to settle a grant when nothing goes wrong any more: one for each answer that is still in a slot, and one.
const FLIGHTS_MAX: usize = 10;
/// Effects of one flight at most.
const EFFECTS_MAX: usize = 40;

/// Judges states; remembers which were seen to settle.
pub(crate) struct Promises<'a> {
    executor: &'a Executor,
    profile: Profile,
    /// Whether faults are counted.
    counted: bool,
    settled: Seen<World>,
    kept: Seen<World>,
}

impl<'a> Promises<'a> {
    pub(crate) fn new(executor: &'a Executor, profile: Profile, counted: bool) -> Self {
        Self { executor, profile, counted, settled: Seen::default(), kept: Seen::default() }
    }

    /// What is wrong with a state.
    pub(crate) fn judge(&mut self, world: &World) -> Option<&'static str> {
        let unharmed = !world.provider.revoked && world.provider.ahead == 0;
        let few = |most: u8| self.counted && world.faults < most;
        let wrong = [
            (world.processes.iter().any(|process| process.unbacked), "I3: a token is served that is not on disk"),
            (world.provider.ahead > 1, "the provider is two rotations ahead"),
            ((world.dead || world.provider.revoked) && few(1), "a grant is lost, and nothing went wrong"),
            (world.dead && unharmed && few(2), "a grant is buried of which nothing was consumed, after a single fault"),
            (world.dead && self.profile == Profile::NonRotating, "a grant is buried whose token may be sent again"),
        ];
        wrong.iter().find(|(holds, _)| *holds).map(|(_, what)| *what).or_else(|| self.progress(world).err())
    }

    /// A flight under way ends, and the flights after it settle the grant: refreshed, or dead for a reason.
    fn progress(&mut self, world: &World) -> Result<(), &'static str> {
        let at_its_end = |world: &mut World| world.now = ENDED;
        settle(self.executor, &mut self.settled, world, (Ask::IfDue, &at_its_end))?;
        let one_fault = self.counted && self.profile == Profile::Grace && world.faults < 2 && world.straggler.is_none();
        if one_fault && world.in_window() && !world.dead && !world.provider.revoked {
            let dead = settle(self.executor, &mut self.kept, world, (Ask::NewerThanCurrent, &|_| ()))?;
            if dead {
                return Err("one fault loses a grant inside its grace window");
            }
        }
        Ok(())
    }
}

/// Lets one process go on undisturbed until the grant is refreshed or dead. Answers whether it is dead; a state that is among
/// `known` was seen to settle.
fn settle(
    executor: &Executor,
    known: &mut Seen<World>,
    world: &World,
    (ask, moment): (Ask, &dyn Fn(&mut World)),
) -> Result<bool, &'static str> {
    let mut calm = undisturbed(world);
    let mut way = Vec::new();
    for flight in 0..FLIGHTS_MAX {
        if !calm.processes.iter().any(Process::flies) {
            if known.contains(&calm) || (flight > 0 && (calm.dead || calm.now == 0)) {
                known.extend(way);
                return Ok(calm.dead);
            }
            way.push(calm.clone());
            moment(&mut calm);
            calm.processes = vec![Process { stage: Stage::Waiting(ask), ..Process::IDLE }];
        }
        for _effect in 0..EFFECTS_MAX {
            if known.contains(&calm) {
                known.extend(way);
                return Ok(false);
            }
            if calm.processes[0].stage == Stage::Idle {
                break;
            }
            way.push(calm.clone());
            calm = executor.calmly(&calm, 0);
        }
        if calm.processes[0].stage != Stage::Idle {
            return Err("a flight does not end");
        }
    }
    Err("a grant is neither refreshed nor dead after many flights in which nothing went wrong")
}

/// The world with the flight under way alone, and no trace of what went wrong before. A quarantine ends when somebody ends it.
fn undisturbed(world: &World) -> World {
    let flying = world.processes.iter().find(|process| process.flies()).cloned();
    let ghosts = World { whose: Whose::Ours, sends: 0, lost: true, faults: 0, straggler: None, ..world.clone() };
    World { processes: vec![flying.unwrap_or(Process::IDLE)], ..ghosts }
}
