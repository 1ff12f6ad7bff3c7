//! What the processes share: one grant's row, intent and slots, the provider, the wire, and the clock.
//!
//! Everything is told relative to the row: token 0 is the one that it holds. So a refresh leads back to a state that was seen
//! before, and any number of refreshes in a row is explored, not a few.

/// An intent of a provider that does not rotate meets no further fault once it has so many attempts: each would add one more.
pub(crate) const ATTEMPTS_MAX: usize = 2;
/// Slots that exist at once: those of an intent, two of the flight under way, and some for executors that take no lock.
pub(crate) const SLOTS: usize = 8;
/// The moments of a token's life, in seconds: twice live, twice due, near its end, ended. A life is 1000 s.
pub(crate) const MOMENTS: [i64; 6] = [0, 20, 945, 965, 985, 1005];
/// The life of an access token, in seconds.
pub(crate) const LIFE_S: i64 = 1000;
/// From this moment on the live token counts as used up.
pub(crate) const NEAR: u8 = 4;
/// The last moment.
pub(crate) const ENDED: u8 = 5;
/// A grace window, in seconds: open for one moment after that of the send, except over the long gap.
pub(crate) const WINDOW_S: u64 = 25;

/// What the provider answers, or what of it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Token,
    Dead,
    PutOff,
    Garbled,
}

/// A slot for an answer, on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    Absent,
    Empty,
    Holds(Answer),
}

/// The open intent, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Intent {
    pub(crate) opened: u8,
    pub(crate) attempts: Vec<u8>,
}

/// Whose the row's refresh token is to redeem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Ours,
    /// The vault was put back from an older copy, and nobody has said since that it is ours.
    Quarantined,
}

/// How the provider treats a refresh token that it has seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Profile {
    Strict,
    Grace,
    NonRotating,
}

/// The provider's side of the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Provider {
    /// How many rotations its current token is ahead of the row's.
    pub(crate) ahead: u8,
    /// Moments for which the last consumed token may be replayed.
    pub(crate) grace_left: u8,
    /// A reuse was seen, and the whole family ended.
    pub(crate) revoked: bool,
}

/// What a process wants when it begins to wait for the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ask {
    IfDue,
    NewerThanCurrent,
    NewerThanOld,
}

/// The machine's state with the effect that it asked for, as a number of [`crate::machine::Machine`].
pub(crate) type At = u16;

/// How far a process is: between which two effects on the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Idle,
    /// Was refused, and waits for the lock.
    Waiting(Ask),
    /// Holds the lock; about to carry out an effect.
    Acting(At),
    /// The slot is there, the intent is not journalled.
    SlotMade(At),
    /// The request is on its way; what will come back, if anything.
    Awaiting(At, Option<Answer>),
    /// The answer is in memory only.
    Read(At, Answer),
    /// The answer was spilled, or could not be.
    Spilled(At, Answer),
    /// The new token is published, its slot is still there.
    Published,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) stage: Stage,
    pub(crate) attempt: Option<u8>,
    /// The row has moved on since this process read it.
    pub(crate) stale: bool,
    /// It serves a token that is not on disk.
    pub(crate) unbacked: bool,
}

impl Process {
    pub(crate) const IDLE: Self = Self { stage: Stage::Idle, attempt: None, stale: false, unbacked: false };

    /// Whether it is between taking the lock and freeing it.
    pub(crate) fn flies(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Waiting(_))
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: u8,
    pub(crate) dead: bool,
    pub(crate) whose: Whose,
    pub(crate) intent: Option<Intent>,
    pub(crate) slots: [Slot; SLOTS],
    pub(crate) provider: Provider,
    /// A request that arrives late or twice; how many rotations old its token is by then, at most 2.
    pub(crate) straggler: Option<u8>,
    pub(crate) processes: Vec<Process>,
    /// Ghost: how often the row's token may have been read by the provider.
    pub(crate) sends: u8,
    /// Ghost: an answer was lost, or a request came late or twice, since the last login.
    pub(crate) lost: bool,
    /// Ghost: how many faults there were, where they are counted.
    pub(crate) faults: u8,
}

impl World {
    pub(crate) fn new(processes: usize) -> Self {
        Self {
            now: 0,
            dead: false,
            whose: Whose::Ours,
            intent: None,
            slots: [Slot::Absent; SLOTS],
            provider: Provider { ahead: 0, grace_left: 0, revoked: false },
            straggler: None,
            processes: vec![Process::IDLE; processes],
            sends: 0,
            lost: false,
            faults: 0,
        }
    }

    /// The same world for our purposes: processes have no names, a slot that neither intent nor flight names is garbage, and what
    /// can no longer make a difference is forgotten.
    pub(crate) fn canonical(mut self, profile: Profile) -> Self {
        self.processes.sort_unstable();
        for (id, slot) in (0_u8..).zip(&mut self.slots) {
            let named = self.intent.as_ref().is_some_and(|intent| intent.attempts.contains(&id))
                || self.processes.iter().any(|process| process.attempt == Some(id));
            if !named {
                *slot = Slot::Absent;
            }
        }
        if self.provider.revoked || profile == Profile::NonRotating {
            (self.straggler, self.provider.grace_left, self.sends) = (None, 0, 0);
        }
        if profile == Profile::Strict {
            (self.straggler, self.provider.grace_left) = (self.straggler.map(|age| age.min(1)), 0);
        }
        self.lost &= self.straggler.is_some() || (self.provider.ahead > 0 && !self.provider.revoked);
        self
    }

    pub(crate) fn slot(&self, attempt: u8) -> Slot {
        self.slots[usize::from(attempt)]
    }

    pub(crate) fn set_slot(&mut self, attempt: u8, slot: Slot) {
        self.slots[usize::from(attempt)] = slot;
    }

    pub(crate) fn attempts(&self) -> &[u8] {
        self.intent.as_ref().map_or(&[], |intent| &intent.attempts)
    }

    pub(crate) fn journalled(&self, attempt: u8) -> bool {
        self.attempts().contains(&attempt)
    }

    /// Whether the window of the open intent has not passed.
    pub(crate) fn in_window(&self) -> bool {
        let moment = |at: u8| MOMENTS[usize::from(at)];
        self.intent.as_ref().is_some_and(|intent| moment(self.now) - moment(intent.opened) < WINDOW_S.cast_signed())
    }

    /// An id that no slot, attempt or flight has.
    pub(crate) fn free_attempt(&self) -> Option<u8> {
        (0_u8..).zip(&self.slots).map(|(id, _)| id).find(|id| {
            let taken = self.processes.iter().any(|process| process.attempt == Some(*id));
            self.slot(*id) == Slot::Absent && !self.journalled(*id) && !taken
        })
    }

    /// A token that is this many rotations older than the row's reaches the provider.
    pub(crate) fn arrive(&mut self, profile: Profile, age: u8) -> Answer {
        let behind = age + self.provider.ahead;
        if self.provider.revoked {
            return Answer::Dead;
        }
        match profile {
            Profile::NonRotating => Answer::Token,
            Profile::Strict | Profile::Grace if behind == 0 => {
                (self.provider.ahead, self.provider.grace_left) = (1, 2);
                Answer::Token
            }
            Profile::Grace if behind == 1 && self.provider.grace_left > 0 => Answer::Token,
            Profile::Strict | Profile::Grace => {
                self.provider.revoked = true;
                Answer::Dead
            }
        }
    }

    /// The answer's token becomes the row's, under the next revision.
    pub(crate) fn commit(&mut self, by: usize, profile: Profile) {
        if profile != Profile::NonRotating {
            self.provider.ahead = self.provider.ahead.saturating_sub(1);
        }
        self.dead = false;
        self.moved(Some(by));
    }

    /// A new login becomes the row's, of a new family at the provider.
    pub(crate) fn login(&mut self) {
        self.provider = Provider { ahead: 0, grace_left: 0, revoked: false };
        (self.dead, self.whose, self.straggler, self.lost) = (false, Whose::Ours, None, false);
        self.moved(None);
    }

    fn moved(&mut self, by: Option<usize>) {
        (self.now, self.intent, self.sends) = (0, None, 0);
        self.straggler = self.straggler.map(|age| (age + 1).min(2));
        for (index, process) in self.processes.iter_mut().enumerate() {
            if process.stage == Stage::Waiting(Ask::NewerThanCurrent) {
                process.stage = Stage::Waiting(Ask::NewerThanOld);
            }
            process.stale |= process.flies() && by != Some(index);
            process.unbacked = false;
        }
    }

    /// Time passes.
    pub(crate) fn tick(&mut self) {
        // Over the long gap every window closes.
        let passed = if self.now == 1 { 2 } else { 1 };
        self.provider.grace_left = self.provider.grace_left.saturating_sub(passed);
        self.now += 1;
    }
}
