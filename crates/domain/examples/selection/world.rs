//! Living through a scene under a policy: what providers would answer, and what comes of it.

use crate::demand::{Account, RUN, Request, SHORT, Scene, Told, WEEK};
use claviger_domain::block::BlockScope;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole, LimitStatus, UsageReport, UsageSource};
use std::collections::HashMap;
use std::time::Duration;

/// How often the endpoint is asked where answers tell nothing.
const POLL: f64 = 300.0;
/// How long an account rests whose provider does not answer.
const REST: f64 = 60.0;

/// What a policy may know of an account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) report: Option<UsageReport>,
    pub(crate) blocked_until: f64,
}

/// What a policy is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) now: f64,
    pub(crate) session: u32,
    /// Where the session was served last, and when.
    pub(crate) pin: Option<(usize, f64)>,
    pub(crate) cache_life: f64,
}

pub(crate) trait Policy {
    /// The account for a request, of those that are not blocked.
    fn choose(&mut self, known: &[Known], asked: &Asked) -> Option<usize>;
}

/// What came of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Least costs, asked and refused.
    pub(crate) asked: f64,
    pub(crate) refused: f64,
    /// Least costs that the weekly windows which ended could have served besides.
    pub(crate) wasted: f64,
    /// What all weekly windows that ended held.
    pub(crate) held: f64,
    /// Requests served, and those of them that left a warm prompt cache.
    pub(crate) served: f64,
    pub(crate) switched: f64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.refused += other.refused;
        self.wasted += other.wasted;
        self.held += other.held;
        self.served += other.served;
        self.switched += other.switched;
    }
}

/// The use of one account in its running windows.
#[derive(Debug, Clone)]
struct Meter {
    short_used: f64,
    short_ends: f64,
    long_used: f64,
    /// Of `long_used`, the least costs: what went into cold caches that need not have been is waste.
    long_useful: f64,
    long_ends: f64,
}

impl Meter {
    fn new(account: &Account) -> Self {
        Self {
            short_used: 0.0,
            short_ends: account.short_phase + SHORT,
            long_used: account.used_before,
            long_useful: account.used_before,
            long_ends: account.long_phase + WEEK,
        }
    }

    /// Ends windows; gives what of a week was wasted.
    fn roll(&mut self, account: &Account, now: f64, outcome: &mut Outcome) {
        while self.short_ends <= now {
            (self.short_used, self.short_ends) = (0.0, self.short_ends + SHORT);
        }
        while self.long_ends <= now {
            outcome.wasted += account.long - self.long_useful;
            outcome.held += account.long;
            (self.long_used, self.long_useful, self.long_ends) = (0.0, 0.0, self.long_ends + WEEK);
        }
    }

    fn report(&self, account: &Account, now: f64) -> UsageReport {
        let limit = |id: &str, role, hours, used: f64, ends: f64| Limit {
            id: id.to_owned(),
            label: String::new(),
            scope: BlockScope::Account,
            window: Some(Duration::from_hours(hours)),
            used: Some(used),
            amount: None,
            resets_at: Some(stamp(ends)),
            status: LimitStatus::Unknown,
            role,
        };
        let limits = vec![
            limit("5h", LimitRole::Primary, 5, self.short_used / account.short, self.short_ends),
            limit("7d", LimitRole::Secondary, 168, self.long_used / account.long, self.long_ends),
        ];
        UsageReport { limits, plan: None, observed_at: stamp(now), source: UsageSource::Headers }
    }
}

/// A time of the run as the product has it.
pub(crate) fn stamp(at: f64) -> Timestamp {
    Timestamp(1_800_000_000_000 + (at * 1000.0) as i64)
}

/// Lives through a scene.
pub(crate) fn live(scene: &Scene, policy: &mut dyn Policy) -> Outcome {
    let mut outcome = Outcome::default();
    let mut meters: Vec<Meter> = scene.accounts.iter().map(Meter::new).collect();
    let mut known: Vec<Known> = scene.accounts.iter().map(|_| Known::default()).collect();
    let mut pins: HashMap<u32, (usize, f64)> = HashMap::new();
    let mut poll_at = if scene.told == Told::ByPolling { 0.0 } else { f64::INFINITY };
    for request in &scene.requests {
        let now = request.at;
        for (meter, account) in meters.iter_mut().zip(&scene.accounts) {
            meter.roll(account, now, &mut outcome);
        }
        if now >= poll_at {
            let reports = meters.iter().zip(&scene.accounts).map(|(meter, account)| meter.report(account, now));
            known.iter_mut().zip(reports).for_each(|(known, report)| known.report = Some(report));
            poll_at = now + POLL;
        }
        outcome.asked += request.least_cost;
        let pin = pins.get(&request.session).copied();
        let warm = pin.filter(|(_, at)| now - at < scene.cache.life).map(|(account, _)| account);
        let asked = Asked { now, session: request.session, pin, cache_life: scene.cache.life };
        match serve(scene, &mut meters, &mut known, (request, &asked, warm), policy) {
            None => outcome.refused += request.least_cost,
            Some(by) => {
                outcome.served += 1.0;
                outcome.switched += f64::from(u8::from(warm.is_some_and(|warm| warm != by)));
                pins.insert(request.session, (by, now));
            }
        }
    }
    meters.iter_mut().zip(&scene.accounts).for_each(|(meter, account)| meter.roll(account, RUN, &mut outcome));
    outcome
}

/// Asks the policy until an account serves; as the gateway does, what refuses is set aside and a sibling is tried.
fn serve(
    scene: &Scene,
    meters: &mut [Meter],
    known: &mut [Known],
    (request, asked, warm): (&Request, &Asked, Option<usize>),
    policy: &mut dyn Policy,
) -> Option<usize> {
    let now = request.at;
    for _attempt in 0..scene.accounts.len() {
        let by = policy.choose(known, asked)?;
        let (account, meter) = (&scene.accounts[by], &mut meters[by]);
        assert!(known[by].blocked_until <= now, "a policy chose a blocked account");
        let cost = if warm == Some(by) { request.warm_cost } else { request.warm_cost * scene.cache.cold };
        let (short_full, long_full) = (meter.short_used + cost > account.short, meter.long_used + cost > account.long);
        if account.is_out(now) {
            known[by].blocked_until = now + REST;
        } else if short_full || long_full {
            known[by].blocked_until = if long_full { meter.long_ends } else { meter.short_ends };
        } else {
            meter.short_used += cost;
            meter.long_used += cost;
            meter.long_useful += request.least_cost;
            if scene.told == Told::ByAnswers {
                known[by].report = Some(meter.report(account, now));
            }
            return Some(by);
        }
    }
    None
}
