//! A pool and what is asked of it for four weeks, both from a seed. Time is in seconds from the beginning.

use crate::dice::Dice;

pub(crate) const HOUR: f64 = 3600.0;
pub(crate) const DAY: f64 = 24.0 * HOUR;
pub(crate) const WEEK: f64 = 7.0 * DAY;
pub(crate) const SHORT: f64 = 5.0 * HOUR;
/// What one run lasts: the first week's windows begin before it, so that a single week would be all beginning.
pub(crate) const RUN: f64 = 4.0 * WEEK;
/// What a request costs on a cold prompt cache, as a multiple of its cost on a warm one.
pub(crate) const COLD: f64 = 3.0;

/// An account as it is, which no policy knows.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// What a 5-hour window and a weekly window hold, in units of cost.
    pub(crate) short: f64,
    pub(crate) long: f64,
    /// When a window of each begins, before 0.
    pub(crate) short_phase: f64,
    pub(crate) long_phase: f64,
    /// What of the running week was used at 0.
    pub(crate) used_before: f64,
    /// From when to when it answers nothing.
    pub(crate) outages: Vec<(f64, f64)>,
}

impl Account {
    pub(crate) fn is_out(&self, now: f64) -> bool {
        self.outages.iter().any(|(from, to)| (*from..*to).contains(&now))
    }
}

/// When policies learn what is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// With every answer, of the account that gave it; nothing of an account that has not served yet.
    ByAnswers,
    /// Every five minutes, of all.
    ByPolling,
}

/// What a provider's prompt cache is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cache {
    /// How long it is kept.
    pub(crate) life: f64,
    /// What a request costs without it, as a multiple of its cost with it.
    pub(crate) cold: f64,
}

/// One request of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) at: f64,
    pub(crate) session: u32,
    /// What it costs on a warm cache.
    pub(crate) warm_cost: f64,
    /// What it costs at the least: on a warm cache if one could be, that is if its session's last request is not too long ago.
    pub(crate) least_cost: f64,
}

/// A pool and what is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) accounts: Vec<Account>,
    pub(crate) requests: Vec<Request>,
    pub(crate) told: Told,
    pub(crate) cache: Cache,
    pub(crate) shape: Shape,
}

impl Scene {
    /// A scene from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, COLD)
    }

    /// A scene from a seed in which a request on a cold prompt cache costs so many times as much as on a warm one.
    pub(crate) fn with(seed: u64, cold: f64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let count = 2 + dice.below(11) as usize;
        let same_size = dice.chance(0.4);
        let accounts: Vec<Account> = (0..count).map(|_| account(&mut dice, same_size)).collect();
        let told = if dice.chance(0.5) { Told::ByAnswers } else { Told::ByPolling };
        let cache = Cache { life: if dice.chance(0.5) { HOUR } else { 300.0 }, cold };
        let mut dice = Dice::new(seed, 2);
        let shape = dice.one_of(&SHAPES);
        let requests = requests(&mut dice, shape, &accounts, cache);
        Self { accounts, requests, told, cache, shape }
    }
}

fn account(dice: &mut Dice, same_size: bool) -> Account {
    let size = if same_size { 1.0 } else { dice.one_of(&[1.0, 1.0, 2.0, 4.0]) };
    // A request costs about one unit: nearly a hundredth of a window.
    let short = 120.0 * size;
    // Between six and fourteen full 5-hour windows make a week.
    let long = short * dice.between(6.0, 14.0);
    let long_phase = -dice.between(0.0, WEEK);
    let used_before = long * (-long_phase / WEEK * dice.between(0.0, 1.2)).min(1.0);
    let mut outages = Vec::new();
    let mut at = dice.wait(1.5 * WEEK);
    while at < RUN {
        let until = at + dice.between(10.0 * 60.0, 10.0 * HOUR);
        outages.push((at, until));
        at = until + dice.wait(1.5 * WEEK);
    }
    Account { short, long, short_phase: -dice.between(0.0, SHORT), long_phase, used_before, outages }
}

/// How the asking is spread over a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The same at all hours.
    Flat,
    /// Ten hours on five days.
    Office,
    /// Now and then everything at once.
    Floods,
    /// Nothing for the first half of each week and everything in the second.
    LateWeek,
}

impl Shape {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Flat => "The same at all hours",
            Self::Office => "Ten hours on five days",
            Self::Floods => "Eight floods of four hours, and little else",
            Self::LateWeek => "Little in the first half of each week, and twice as much in the second",
        }
    }
}

pub(crate) const SHAPES: [Shape; 4] = [Shape::Flat, Shape::Office, Shape::Floods, Shape::LateWeek];

/// How much is asked at a time, beside what is asked on average.
fn intensity(shape: Shape, at: f64, floods: &[f64]) -> f64 {
    let (day, hour) = ((at / DAY) as u64 % 7, at % DAY / HOUR);
    match shape {
        Shape::Flat => 1.0,
        Shape::Office => {
            if day < 5 && (9.0..19.0).contains(&hour) {
                3.2
            } else {
                0.1
            }
        }
        Shape::Floods => {
            if floods.iter().any(|flood| (*flood..*flood + 4.0 * HOUR).contains(&at)) {
                12.0
            } else {
                0.35
            }
        }
        Shape::LateWeek => {
            if at % WEEK < WEEK / 2.0 {
                0.15
            } else {
                1.85
            }
        }
    }
}

/// Most that any shape's intensity reaches.
const INTENSITY_MAX: f64 = 12.0;

fn requests(dice: &mut Dice, shape: Shape, accounts: &[Account], cache: Cache) -> Vec<Request> {
    let floods: Vec<f64> = (0..8).map(|_| dice.between(0.0, RUN)).collect();
    let load = dice.between(0.4, 1.3);
    let rate = load * accounts.iter().map(|account| account.long).sum::<f64>() / WEEK;
    let mean_length = dice.one_of(&[4.0, 12.0, 30.0]);
    let pauses = dice.between(0.02, 0.15);
    // The first request of a session is cold, and so are those after a pause.
    let mean_cost = mean_length * (1.0 + pauses * (cache.cold - 1.0)) + cache.cold - 1.0;
    let mut requests = Vec::new();
    let (mut at, mut session) = (0.0, 0);
    while at < RUN {
        at += dice.wait(mean_cost / (rate * INTENSITY_MAX));
        if at < RUN && dice.chance(intensity(shape, at, &floods) / INTENSITY_MAX) {
            one_session(dice, &mut requests, (session, at), (mean_length, pauses, cache));
            session += 1;
        }
    }
    requests.sort_by(|one: &Request, other| one.at.total_cmp(&other.at));
    requests
}

fn one_session(dice: &mut Dice, requests: &mut Vec<Request>, (session, from): (u32, f64), (length, pauses, cache): (f64, f64, Cache)) {
    let (mut at, mut last) = (from, f64::NEG_INFINITY);
    while at < RUN {
        let warm_cost = dice.between(0.3, 1.7);
        let least_cost = if at - last < cache.life { warm_cost } else { warm_cost * cache.cold };
        requests.push(Request { at, session, warm_cost, least_cost });
        last = at;
        if dice.chance(1.0 / length) {
            return;
        }
        at += if dice.chance(pauses) { dice.between(300.0, 3.0 * HOUR) } else { dice.between(10.0, 120.0) };
    }
}
