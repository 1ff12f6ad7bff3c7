//! The real `claviger_domain::refresh::step`, its states as small numbers so that a world can be hashed.

use crate::world::{Answer, Ask, At, LIFE_S, MOMENTS, Profile, WINDOW_S};
use claviger_domain::id::{AttemptId, GrantRevision};
use claviger_domain::profile::Rotation;
use claviger_domain::refresh::{AnswerKind, Claim, Due, Effect, Event, GrantFacts, IntentFacts, State, Want, step};
use claviger_domain::time::Timestamp;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The revision that the row always has: a refresh is told by who is behind it.
const REVISION: GrantRevision = GrantRevision(4);

/// The intent as a process read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IntentSeen {
    pub(crate) opened: u8,
    pub(crate) attempts: usize,
    pub(crate) answered: Option<u8>,
}

/// An event, in small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Heard {
    Loaded { dead: bool, quarantined: bool, intent: Option<IntentSeen> },
    Connected,
    Unreachable,
    Journalled,
    NotJournalled,
    Moved,
    NotSent,
    Answered(Answer),
    Unreadable,
    Stored,
    Overtaken,
    NotStored,
    Withdrawn,
    Buried { moved: bool },
}

fn at(moment: u8) -> Timestamp {
    Timestamp::from_secs(MOMENTS[usize::from(moment)])
}

/// All states that the machine was seen in.
#[derive(Default)]
struct Known {
    states: Vec<(State, Effect)>,
    numbers: HashMap<String, At>,
    begun: HashMap<(Ask, Heard, u8), At>,
    steps: HashMap<(At, Heard, u8), At>,
}

impl Known {
    fn number(&mut self, state: State, effect: Effect) -> At {
        *self.numbers.entry(format!("{state:?}{effect:?}")).or_insert_with(|| {
            self.states.push((state, effect));
            At::try_from(self.states.len() - 1).unwrap()
        })
    }
}

/// The machine for one profile.
pub(crate) struct Machine {
    rotation: Rotation,
    known: RefCell<Known>,
}

impl Machine {
    pub(crate) fn new(profile: Profile) -> Self {
        let rotation = match profile {
            Profile::Strict => Rotation::Strict,
            Profile::Grace => Rotation::Grace { window: Duration::from_secs(WINDOW_S) },
            Profile::NonRotating => Rotation::NonRotating,
        };
        Self { rotation, known: RefCell::default() }
    }

    /// A flight begins with what was read under the lock.
    pub(crate) fn begin(&self, ask: Ask, heard: Heard, now: u8) -> At {
        let known = &mut *self.known.borrow_mut();
        if let Some(number) = known.begun.get(&(ask, heard, now)) {
            return *number;
        }
        let want = match ask {
            Ask::IfDue => Want::IfDue { due: Due::Request },
            Ask::NewerThanCurrent => Want::NewerThan(REVISION),
            Ask::NewerThanOld => Want::NewerThan(GrantRevision(REVISION.0 - 1)),
        };
        let (state, effect) = step(State::new(want), self.event(heard), at(now));
        let number = known.number(state, effect);
        known.begun.insert((ask, heard, now), number);
        number
    }

    /// The next state and effect.
    pub(crate) fn step(&self, from: At, heard: Heard, now: u8) -> At {
        let known = &mut *self.known.borrow_mut();
        if let Some(number) = known.steps.get(&(from, heard, now)) {
            return *number;
        }
        let state = known.states[usize::from(from)].0.clone();
        let (state, effect) = step(state, self.event(heard), at(now));
        let number = known.number(state, effect);
        known.steps.insert((from, heard, now), number);
        number
    }

    /// What the machine wants done in this state.
    pub(crate) fn effect(&self, at: At) -> Effect {
        self.known.borrow().states[usize::from(at)].1.clone()
    }

    /// Every kind of effect and outcome that was asked for, by name.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        let name = |text: String| text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
        let known = self.known.borrow();
        let names = known.states.iter().map(|(_, effect)| match effect {
            Effect::Finish(outcome) => name(format!("{outcome:?}")),
            other => name(format!("{other:?}")),
        });
        names.collect()
    }

    fn event(&self, heard: Heard) -> Event {
        match heard {
            Heard::Loaded { dead, quarantined, intent } => {
                let grant = GrantFacts {
                    revision: REVISION,
                    issued_at: Timestamp(0),
                    expires_at: Some(Timestamp::from_secs(LIFE_S)),
                    dead,
                    rotation: self.rotation,
                    claim: if quarantined { Claim::Quarantined { since: Timestamp(0) } } else { Claim::Ours },
                };
                let intent = intent.map(|IntentSeen { opened, attempts, answered }| IntentFacts {
                    from: REVISION,
                    opened_at: at(opened),
                    attempts: u32::try_from(attempts).unwrap(),
                    answered: answered.map(|id| AttemptId(id.into())),
                });
                Event::Loaded { grant, intent }
            }
            Heard::Connected => Event::Connected,
            Heard::Unreachable => Event::Unreachable,
            Heard::Journalled => Event::Journalled,
            Heard::NotJournalled => Event::NotJournalled,
            Heard::Moved => Event::Moved,
            Heard::NotSent => Event::NotSent,
            Heard::Answered(Answer::Token) => Event::Answered(AnswerKind::Token),
            Heard::Answered(Answer::Dead) => Event::Answered(AnswerKind::Dead { code: "invalid_grant".to_owned() }),
            Heard::Answered(Answer::PutOff) => Event::Answered(AnswerKind::Transient { retry_at: None }),
            Heard::Answered(Answer::Garbled) => Event::Answered(AnswerKind::Ambiguous),
            Heard::Unreadable => Event::Unreadable,
            Heard::Stored => Event::Stored,
            Heard::Overtaken => Event::Overtaken,
            Heard::NotStored => Event::NotStored,
            Heard::Withdrawn => Event::Withdrawn,
            Heard::Buried { moved } => Event::Buried { moved },
        }
    }
}
