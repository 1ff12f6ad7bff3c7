//! What a process does, in the order of `pool::refresh`, and all that can happen to it between two effects.

use crate::checker::Move;
use crate::machine::{Heard, IntentSeen, Machine};
use crate::world::{ATTEMPTS_MAX, Answer, Ask, At, ENDED, Intent, NEAR, Process, Profile, Slot, Stage, Whose, World};
use claviger_domain::refresh::{Effect, Outcome};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// In which order effects are carried out, and what the machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As `pool::refresh` does it.
    AsThePool,
    /// The journal is written when the request is on its way.
    JournalsAfterSending,
    /// The machine is not told of an open intent.
    ForgetsTheIntent,
    /// The machine is not told of an answer in a slot.
    IgnoresTheSpill,
    /// A slot whose reading fails counts as an empty one.
    TakesAnUnreadSlotForEmpty,
    /// Each process for itself.
    TakesNoLock,
    /// A lost answer is told as a request that was not sent.
    TakesALossForNotSent,
    /// The machine is told of one attempt, however many there were.
    CountsOneAttempt,
    /// A new token is served when it is parsed.
    PublishesBeforeStoring,
    /// The slot goes when it is parsed.
    RemovesTheSlotBeforeStoring,
    /// The machine is not told that the grant is dead.
    ForgetsDeath,
    /// The machine is not told that the grant is in quarantine.
    ForgetsTheQuarantine,
    /// No slot can ever be read.
    NeverReadsASlot,
    /// The row keeps the refresh token that was sent.
    KeepsTheOldToken,
}

/// The promise that a move breaks.
type Broken = Option<&'static str>;

/// One profile, one order, and how much may go wrong.
pub(crate) struct Executor {
    profile: Profile,
    order: Order,
    /// The most faults of one run; `None` for any number of them.
    most: Option<u8>,
    machine: Machine,
}

/// The moves of one process.
struct Turn<'a> {
    world: &'a World,
    index: usize,
    profile: Profile,
    most: Option<u8>,
    moves: Vec<Move<World>>,
}

impl Turn<'_> {
    fn go(&mut self, what: impl Into<Cow<'static, str>>, change: impl FnOnce(&mut World, usize) -> Broken) {
        let mut next = self.world.clone();
        let broken = change(&mut next, self.index);
        self.moves.push(Move { what: what.into(), next: next.canonical(self.profile), broken });
    }

    /// A move that is a fault, while there may be another one.
    fn fault(&mut self, what: &'static str, change: impl FnOnce(&mut World, usize) -> Broken) {
        let enough = self.profile == Profile::NonRotating && self.world.attempts().len() >= ATTEMPTS_MAX;
        if !enough && self.most.is_none_or(|most| self.world.faults < most) {
            let counted = u8::from(self.most.is_some());
            self.go(what, |world, index| {
                world.faults += counted;
                change(world, index)
            });
        }
    }
}

/// A slot goes; what it held must be in the database by then.
fn remove_slot(world: &mut World, attempt: u8) -> Broken {
    let lost = world.slot(attempt) == Slot::Holds(Answer::Token) && world.journalled(attempt);
    world.set_slot(attempt, Slot::Absent);
    lost.then_some("I2: a good answer is removed before it is stored")
}

fn release(world: &mut World, index: usize) -> Broken {
    world.processes[index] = Process::IDLE;
    None
}

impl Executor {
    pub(crate) fn new(profile: Profile, order: Order, most: Option<u8>) -> Self {
        Self { profile, order, most, machine: Machine::new(profile) }
    }

    /// Every kind of effect and outcome that the machine has asked for.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.machine.asked()
    }

    /// Everything that can happen next.
    pub(crate) fn moves(&self, world: &World) -> Vec<Move<World>> {
        let mut moves = Vec::new();
        for index in 0..world.processes.len() {
            // Processes are sorted, and have no names: what the one before can do as well is the same.
            if index == 0 || world.processes[index] != world.processes[index - 1] {
                moves.extend(self.turn(world, index));
            }
        }
        moves.extend(self.happen(world));
        moves
    }

    /// What one process can do next, or, past the last one, what happens around them.
    pub(crate) fn moves_of(&self, world: &World, index: usize) -> Vec<Move<World>> {
        if index < world.processes.len() { self.turn(world, index) } else { self.happen(world) }
    }

    /// What happens around the processes.
    fn happen(&self, world: &World) -> Vec<Move<World>> {
        let mut moves = Vec::new();
        let mut happen = |what: &'static str, next: World, broken: Broken| {
            moves.push(Move { what: what.into(), next: next.canonical(self.profile), broken });
        };
        if world.now < ENDED && world.processes.iter().all(|process| self.time_may_pass(process)) {
            let mut next = world.clone();
            next.tick();
            happen("time passes", next, None);
        }
        if let Some(age) = world.straggler {
            let mut next = world.clone();
            next.straggler = None;
            let (_, broken) = self.arrive(&mut next, age);
            happen("a late or second copy of a request arrives", next, broken);
        }
        if !world.processes.iter().any(Process::flies) {
            let mut next = world.clone();
            next.login();
            happen("somebody logs in anew", next, None);
            let (what, whose) = match world.whose {
                Whose::Ours => ("the vault is put back from a copy", Whose::Quarantined),
                Whose::Quarantined => ("somebody says that the token is ours", Whose::Ours),
            };
            happen(what, World { whose, ..world.clone() }, None);
        }
        moves
    }

    /// Time passes while processes wait or are on the network; what they do on the disk takes no time.
    fn time_may_pass(&self, process: &Process) -> bool {
        match process.stage {
            Stage::Idle | Stage::Waiting(_) | Stage::Awaiting(..) => true,
            Stage::Acting(at) => self.machine.effect(at) == Effect::Connect,
            Stage::SlotMade(_) | Stage::Read(..) | Stage::Spilled(..) | Stage::Published => false,
        }
    }

    /// What one process can do, what goes well first, and what can befall it.
    fn turn(&self, world: &World, index: usize) -> Vec<Move<World>> {
        let mut turn = Turn { world, index, profile: self.profile, most: self.most, moves: Vec::new() };
        let process = &world.processes[index];
        match process.stage {
            Stage::Idle => {
                // Who waits with this wish has nothing in memory that another one could make stale: no stage of its own.
                if self.order == Order::TakesNoLock || !world.processes.iter().any(Process::flies) {
                    self.take_off(&mut turn, Ask::IfDue);
                }
                turn.go("was refused", |world, index| {
                    world.processes[index].stage = Stage::Waiting(Ask::NewerThanCurrent);
                    None
                });
            }
            Stage::Waiting(ask) => {
                if self.order == Order::TakesNoLock || !world.processes.iter().any(Process::flies) {
                    self.take_off(&mut turn, ask);
                }
                turn.go("waits no longer", release);
            }
            Stage::Acting(at) => self.act(&mut turn, at),
            Stage::SlotMade(at) => self.journal(&mut turn, at),
            Stage::Awaiting(at, coming) => self.receive(&mut turn, at, coming),
            Stage::Read(at, answer) => Self::spill(&mut turn, at, answer),
            Stage::Spilled(at, answer) => turn.go(format!("finds in the answer: {answer:?}"), |world, index| {
                world.processes[index].unbacked = self.order == Order::PublishesBeforeStoring && answer == Answer::Token;
                self.hear(world, index, (at, Heard::Answered(answer)))
            }),
            Stage::Published => turn.go("removes the slot, frees the lock", |world, index| {
                let broken = world.processes[index].attempt.and_then(|attempt| remove_slot(world, attempt));
                release(world, index).or(broken)
            }),
        }
        if process.flies() {
            Self::die(&mut turn, process);
        }
        turn.moves
    }

    fn hear(&self, world: &mut World, index: usize, (at, heard): (At, Heard)) -> Broken {
        world.processes[index].stage = Stage::Acting(self.machine.step(at, heard, world.now));
        None
    }

    fn take_off(&self, turn: &mut Turn<'_>, ask: Ask) {
        let begin = |world: &mut World, index: usize, readable: bool| {
            let holds = |attempt: &&u8| matches!(world.slot(**attempt), Slot::Holds(_));
            let seen = world.intent.as_ref().map(|intent| IntentSeen {
                opened: intent.opened,
                attempts: if self.order == Order::CountsOneAttempt { 1 } else { intent.attempts.len() },
                answered: intent.attempts.iter().rfind(holds).copied().filter(|_| readable && self.order != Order::IgnoresTheSpill),
            });
            let heard = Heard::Loaded {
                dead: world.dead && self.order != Order::ForgetsDeath,
                quarantined: world.whose == Whose::Quarantined && self.order != Order::ForgetsTheQuarantine,
                intent: seen.filter(|_| self.order != Order::ForgetsTheIntent),
            };
            world.processes[index].stage = Stage::Acting(self.machine.begin(ask, heard, world.now));
            None
        };
        turn.go("takes the lock, reads row, intent and slots", |world, index| begin(world, index, true));
        turn.fault("takes the lock, and cannot read", |world, index| match self.order {
            Order::TakesAnUnreadSlotForEmpty => begin(world, index, false),
            _ => release(world, index),
        });
    }

    fn act(&self, turn: &mut Turn<'_>, at: At) {
        let hear = |heard| move |world: &mut World, index| self.hear(world, index, (at, heard));
        match self.machine.effect(at) {
            Effect::Connect => {
                turn.go("connects", hear(Heard::Connected));
                turn.go("finds no connection", hear(Heard::Unreachable));
            }
            Effect::Journal if self.order == Order::JournalsAfterSending => turn.go("journals nothing yet", hear(Heard::Journalled)),
            Effect::Journal => match turn.world.free_attempt() {
                Some(attempt) => {
                    turn.go(format!("creates slot {attempt}"), |world, index| {
                        world.set_slot(attempt, Slot::Empty);
                        (world.processes[index].attempt, world.processes[index].stage) = (Some(attempt), Stage::SlotMade(at));
                        None
                    });
                    turn.fault("cannot create a slot", hear(Heard::NotJournalled));
                }
                None => turn.go("finds no room for a slot", hear(Heard::NotJournalled)),
            },
            Effect::Send => self.send(turn, at),
            Effect::ReadSpill(attempt) => self.read_spill(turn, at, u8::try_from(attempt.0).unwrap()),
            Effect::Withdraw => {
                turn.go("withdraws the attempt", |world, index| {
                    let broken = world.processes[index].attempt.and_then(|attempt| Self::withdraw(world, attempt));
                    world.processes[index].attempt = None;
                    self.hear(world, index, (at, Heard::Withdrawn)).or(broken)
                });
                turn.fault("cannot withdraw the attempt", hear(Heard::Withdrawn));
            }
            Effect::Store => self.store(turn, at),
            Effect::Bury { cause } => {
                turn.go(format!("buries the grant: {cause}"), |world, index| self.bury(world, index, at));
                turn.fault("cannot bury the grant", hear(Heard::NotStored));
            }
            Effect::Finish(Outcome::Refreshed) => {
                turn.go("publishes what is on disk", |world, index| {
                    world.processes[index].stage = Stage::Published;
                    let current = world.provider.ahead == 0 || world.provider.revoked;
                    (!current).then_some("a refreshed grant does not hold the provider's current token")
                });
                turn.fault("cannot read the row to publish it", release);
            }
            Effect::Finish(outcome) => turn.go(format!("ends: {outcome:?}"), release),
        }
    }

    fn journal(&self, turn: &mut Turn<'_>, at: At) {
        let Some(attempt) = turn.world.processes[turn.index].attempt else { return };
        let end = |world: &mut World, index, heard| remove_slot(world, attempt).or(self.hear(world, index, (at, heard)));
        if turn.world.processes[turn.index].stale {
            return turn.go("finds that the grant has moved on", |world, index| end(world, index, Heard::Moved));
        }
        turn.go("journals the attempt", |world, index| {
            join(world, attempt);
            self.hear(world, index, (at, Heard::Journalled))
        });
        turn.fault("cannot journal the attempt", |world, index| end(world, index, Heard::NotJournalled));
        turn.fault("journals the attempt, and is told that it failed", |world, index| {
            world.set_slot(attempt, Slot::Absent);
            join(world, attempt);
            self.hear(world, index, (at, Heard::NotJournalled))
        });
    }

    fn send(&self, turn: &mut Turn<'_>, at: At) {
        let age = u8::from(turn.world.processes[turn.index].stale);
        // A straggler is one: a second one is not told apart, and the first one did its harm.
        let wire_is_free = turn.world.straggler.is_none();
        let processed = |world: &mut World, index: usize| {
            let broken = self.first_byte(world, index);
            let (answer, reuse) = self.arrive(world, age);
            self.send_ends(world, index, (at, Some(answer)));
            broken.or(reuse)
        };
        turn.go("sends the token; it is processed", processed);
        turn.go("sends nothing: it fails before the first byte", |world, index| self.hear(world, index, (at, Heard::NotSent)));
        turn.go("sends the token; it is refused unread", |world, index| {
            let broken = self.forbidden(world, index);
            self.send_ends(world, index, (at, Some(Answer::PutOff)));
            broken
        });
        turn.fault("sends the token; the request is lost", |world, index| {
            let broken = self.first_byte(world, index);
            self.send_ends(world, index, (at, None));
            broken
        });
        if wire_is_free {
            turn.fault("sends the token; the request is held up", |world, index| {
                let broken = self.first_byte(world, index);
                (world.straggler, world.lost) = (Some(age), true);
                self.send_ends(world, index, (at, None));
                broken
            });
            turn.fault("sends the token; it is processed, and a copy is held up", |world, index| {
                (world.straggler, world.lost) = (Some(age), true);
                processed(world, index)
            });
        }
    }

    fn send_ends(&self, world: &mut World, index: usize, (at, coming): (At, Option<Answer>)) {
        if self.order == Order::JournalsAfterSending {
            // Too late: where no answer comes, or the process ends now, nobody knows of this attempt.
            if let (Some(attempt), Some(_)) = (world.free_attempt(), coming) {
                world.set_slot(attempt, Slot::Empty);
                world.processes[index].attempt = Some(attempt);
            }
        }
        world.processes[index].stage = Stage::Awaiting(at, coming);
    }

    /// The request is read by the provider, or may be.
    fn first_byte(&self, world: &mut World, index: usize) -> Broken {
        let broken = self.forbidden(world, index);
        if world.processes[index].stale {
            return broken;
        }
        world.sends = (world.sends + 1).min(3);
        let third = world.sends > 2 && self.profile != Profile::NonRotating;
        broken.or(third.then_some("I1: a refresh token is sent a third time"))
    }

    /// What may not be so when a request is sent.
    fn forbidden(&self, world: &World, index: usize) -> Broken {
        // These controls show that the provider's eyes are enough, without a look at the journal.
        if matches!(self.order, Order::JournalsAfterSending | Order::ForgetsTheIntent | Order::TakesNoLock) {
            return None;
        }
        let attempts = world.attempts();
        if world.dead {
            return Some("I3: a dead grant is sent");
        }
        if world.whose == Whose::Quarantined && self.profile != Profile::NonRotating {
            return Some("I4: a token is sent under quarantine");
        }
        if attempts.iter().any(|attempt| world.slot(*attempt) == Slot::Holds(Answer::Token)) {
            return Some("I2: a good answer waits in its slot, and the token is sent again");
        }
        let slot_made = |attempt: u8| world.journalled(attempt) && world.slot(attempt) == Slot::Empty;
        if !world.processes[index].stale && !world.processes[index].attempt.is_some_and(slot_made) {
            return Some("I1: a token is sent without a journalled attempt and its slot");
        }
        let replayed_early = match self.profile {
            Profile::NonRotating => return None,
            Profile::Grace => attempts.len() > 1 && world.now < NEAR && !world.in_window(),
            Profile::Strict => attempts.len() > 1 && world.now < NEAR,
        };
        if replayed_early {
            return Some("a live token is not used up before the replay");
        }
        (attempts.len() > 2).then_some("I1: an intent has a third attempt")
    }

    fn arrive(&self, world: &mut World, age: u8) -> (Answer, Broken) {
        let before = world.provider.revoked;
        let answer = world.arrive(self.profile, age);
        let reuse = world.provider.revoked && !before && !world.lost;
        (answer, reuse.then_some("I1: a token is used twice, and no answer was lost"))
    }

    fn receive(&self, turn: &mut Turn<'_>, at: At, coming: Option<Answer>) {
        let gone = match self.order {
            Order::TakesALossForNotSent => Heard::NotSent,
            _ => Heard::Answered(Answer::Garbled),
        };
        let Some(answer) = coming else {
            return turn.go("waits for an answer in vain", |world, index| self.hear(world, index, (at, gone)));
        };
        turn.go(format!("receives {answer:?}"), |world, index| {
            let process = &mut world.processes[index];
            process.stage = Stage::Read(at, answer);
            if let (Order::JournalsAfterSending, Some(attempt)) = (self.order, process.attempt) {
                join(world, attempt);
            }
            None
        });
        let lost = answer == Answer::Token;
        turn.fault("waits for an answer that is lost", |world, index| {
            world.lost |= lost;
            self.hear(world, index, (at, gone))
        });
        if lost {
            turn.fault("receives a part of the answer", |world, index| {
                (world.lost, world.processes[index].stage) = (true, Stage::Read(at, Answer::Garbled));
                None
            });
        }
    }

    fn spill(turn: &mut Turn<'_>, at: At, answer: Answer) {
        turn.go("spills the answer", |world, index| {
            if let Some(attempt) = world.processes[index].attempt.filter(|attempt| world.slot(*attempt) == Slot::Empty) {
                world.set_slot(attempt, Slot::Holds(answer));
            }
            world.processes[index].stage = Stage::Spilled(at, answer);
            None
        });
        turn.fault("cannot spill the answer", |world, index| {
            world.lost |= answer == Answer::Token;
            world.processes[index].stage = Stage::Spilled(at, answer);
            None
        });
    }

    fn read_spill(&self, turn: &mut Turn<'_>, at: At, attempt: u8) {
        let Slot::Holds(answer) = turn.world.slot(attempt) else {
            // Only an executor without a lock finds a slot empty that held an answer before.
            return turn.go("finds the slot empty", |world, index| self.hear(world, index, (at, Heard::Unreadable)));
        };
        if self.order == Order::NeverReadsASlot {
            return turn.go("cannot read the slot", |world, index| self.hear(world, index, (at, Heard::Unreadable)));
        }
        turn.go(format!("reads {answer:?} from slot {attempt}"), |world, index| {
            world.processes[index].attempt = Some(attempt);
            self.hear(world, index, (at, Heard::Answered(answer)))
        });
        turn.fault("cannot read the slot", |world, index| match self.order {
            Order::TakesAnUnreadSlotForEmpty => self.hear(world, index, (at, Heard::Answered(Answer::Garbled))),
            _ => self.hear(world, index, (at, Heard::Unreadable)),
        });
    }

    fn withdraw(world: &mut World, attempt: u8) -> Broken {
        let broken = remove_slot(world, attempt);
        if let Some(intent) = &mut world.intent {
            intent.attempts.retain(|other| *other != attempt);
        }
        world.intent = world.intent.take().filter(|intent| !intent.attempts.is_empty());
        broken
    }

    fn store(&self, turn: &mut Turn<'_>, at: At) {
        let attempt = turn.world.processes[turn.index].attempt;
        let filled = attempt.filter(|attempt| matches!(turn.world.slot(*attempt), Slot::Holds(_)));
        if let (Order::RemovesTheSlotBeforeStoring, Some(attempt)) = (self.order, filled) {
            return turn.go("removes the slot", |world, _| remove_slot(world, attempt));
        }
        let commit = |heard| {
            move |world: &mut World, index: usize| {
                if world.processes[index].stale {
                    return self.hear(world, index, (at, Heard::Overtaken));
                }
                let now = world.now;
                // A provider that does not rotate is one whose token need not be stored.
                let kept = self.order == Order::KeepsTheOldToken;
                world.commit(index, if kept { Profile::NonRotating } else { self.profile });
                world.processes[index].stage = Stage::Acting(self.machine.step(at, heard, now));
                None
            }
        };
        turn.go("stores the new token", commit(Heard::Stored));
        turn.fault("cannot store the new token", |world, index| self.hear(world, index, (at, Heard::NotStored)));
        turn.fault("stores the new token, and is told that it failed", commit(Heard::NotStored));
    }

    fn bury(&self, world: &mut World, index: usize, at: At) -> Broken {
        if world.processes[index].stale {
            return self.hear(world, index, (at, Heard::Buried { moved: true }));
        }
        let lost = world.attempts().iter().any(|attempt| world.slot(*attempt) == Slot::Holds(Answer::Token));
        (world.dead, world.intent) = (true, None);
        self.hear(world, index, (at, Heard::Buried { moved: false })).or(lost.then_some("I2: a grant is buried over a good answer"))
    }

    fn die(turn: &mut Turn<'_>, process: &Process) {
        let spilled = process.attempt.is_some_and(|attempt| matches!(turn.world.slot(attempt), Slot::Holds(_)));
        let lost = match process.stage {
            Stage::Awaiting(_, Some(Answer::Token)) | Stage::Read(_, Answer::Token) => true,
            Stage::Spilled(_, Answer::Token) => !spilled,
            _ => false,
        };
        turn.fault("dies", |world, index| {
            world.lost |= lost;
            release(world, index)
        });
        if let (Stage::Read(_, answer), Some(attempt)) = (process.stage, process.attempt) {
            turn.fault("dies, with the answer just written", |world, index| {
                world.set_slot(attempt, Slot::Holds(answer));
                release(world, index)
            });
        }
    }

    /// What goes well: the one thing that a process does when nothing befalls it.
    pub(crate) fn calmly(&self, world: &World, index: usize) -> World {
        self.turn(world, index).swap_remove(0).next
    }
}

/// The attempt joins the open intent, or opens one.
fn join(world: &mut World, attempt: u8) {
    let opened = world.now;
    world.intent.get_or_insert_with(|| Intent { opened, attempts: Vec::new() }).attempts.push(attempt);
}
