//! The order, the choice and its explanation, level by level.

use super::*;
use crate::block::{BlockEnd, BlockScope};
use crate::profile::PlanClass;
use crate::usage::{Limit, LimitRole, LimitStatus, UsageSource};
use std::collections::BTreeSet;
use std::time::Duration;

const NOW: Timestamp = Timestamp(1_795_348_422_000);
const HOUR: Duration = Duration::from_hours(1);

fn many(count: i64) -> Vec<Candidate<'static>> {
    (1..=count).map(|id| Candidate::new(AccountId(id), Rung::OAuth)).collect()
}

fn built(candidates: &[Candidate<'_>]) -> Order {
    scoped(candidates, Scope::default())
}

fn scoped(candidates: &[Candidate<'_>], scope: Scope<'_>) -> Order {
    order(candidates, scope, &Rule::DEFAULT, NOW, &Order::default())
}

fn account_at(candidates: &[Candidate<'_>], slot: Option<usize>) -> Option<AccountId> {
    slot.map(|slot| candidates[slot].account)
}

fn picks(candidates: &[Candidate<'_>], sessions: u64) -> Vec<AccountId> {
    let order = built(candidates);
    let pick = |session| account_at(candidates, order.pick(Some(SessionHash(mix(session, 1))), 0, |_| true)).unwrap();
    (0..sessions).map(pick).collect()
}

fn ids(order: &Order) -> Vec<i64> {
    order.accounts().iter().map(|account| account.0).collect()
}

fn limit(role: LimitRole, used: f64, left: Duration) -> Limit {
    let (id, window) = if role == LimitRole::Primary { ("5h", HOUR * 5) } else { ("7d", HOUR * 168) };
    Limit {
        id: id.into(),
        label: id.into(),
        scope: BlockScope::Account,
        window: Some(window),
        used: Some(used),
        amount: None,
        resets_at: Some(NOW.plus(left)),
        status: LimitStatus::Unknown,
        role,
    }
}

/// A report of (used, hours left) of the primary and of the secondary window.
fn report(primary: (f64, u32), secondary: (f64, u32)) -> UsageReport {
    let limits = vec![limit(LimitRole::Primary, primary.0, HOUR * primary.1), limit(LimitRole::Secondary, secondary.0, HOUR * secondary.1)];
    UsageReport { limits, plan: None, observed_at: NOW, source: UsageSource::Headers }
}

/// Accounts 1, 2, … with these reports.
fn reported(reports: &[UsageReport]) -> Vec<Candidate<'_>> {
    (1..).zip(reports).map(|(id, usage)| Candidate { usage: Some(usage), ..Candidate::new(AccountId(id), Rung::OAuth) }).collect()
}

fn block(scope: BlockScope, until: Timestamp) -> Block {
    Block { scope, until, end: BlockEnd::Told, reason: String::new() }
}

fn wanted(session: u64, pin: Option<(i64, Duration)>) -> Wanted {
    let pin = pin.map(|(account, ago)| Pin { account: AccountId(account), used_at: NOW.minus(ago), cached_tokens: None });
    Wanted { session: Some(SessionHash(session)), pin, cache_life: CACHE_LIFE, seed: 0, now: NOW }
}

fn chosen(candidates: &[Candidate<'_>], wanted: &Wanted) -> (AccountId, How) {
    explain(candidates, (Scope::default(), &Rule::DEFAULT), wanted, |_| None).chosen.unwrap()
}

#[test]
fn a_session_stays_with_its_account() {
    assert_eq!(picks(&many(7), 500), picks(&many(7), 500));
}

#[test]
fn adding_an_account_moves_few_sessions_and_only_to_it() {
    for count in [10, 16, 40] {
        let (old, new) = (picks(&many(count), 10_000), picks(&many(count + 1), 10_000));
        let moved: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| **new == AccountId(count + 1)), "a session moved between old accounts");
        let fair = 10_000 / usize::try_from(count + 1).unwrap();
        assert!((fair * 2 / 3..fair * 3 / 2).contains(&moved.len()), "{} of 10,000 moved", moved.len());
    }
}

#[test]
fn cells_are_shared_fairly_and_by_weight() {
    let fair = shares(&built(&many(16)));
    assert_eq!(fair.len(), 16);
    assert!(fair.values().all(|cells| (180..340).contains(cells)), "{fair:?}");
    for count in [3, 30] {
        let mut weighted = many(count);
        weighted[0].weight = Weight::new(10).unwrap();
        let share = shares(&built(&weighted))[&AccountId(1)];
        let due = CELLS * 10 / (9 + usize::try_from(count).unwrap());
        assert!((due * 9 / 10..due * 11 / 10).contains(&share), "{share} of {due}");
    }
}

#[test]
fn an_order_built_on_the_last_one_is_the_order_built_anew() {
    let rule = &Rule::DEFAULT;
    let mut last = Order::default();
    for turn in 0..12_u64 {
        let weight = |id: i64| Weight::new(1 + u16::from(turn.is_multiple_of(3) && id > 40)).unwrap();
        let mut candidates: Vec<_> =
            many(60).into_iter().filter(|one| !mix(turn, one.account.0.cast_unsigned()).is_multiple_of(4)).collect();
        for one in &mut candidates {
            one.weight = weight(one.account.0);
        }
        candidates.rotate_left(usize::try_from(turn).unwrap());
        let anew = order(&candidates, Scope::default(), rule, NOW, &Order::default());
        last = order(&candidates, Scope::default(), rule, NOW, &last);
        let all =
            |order: &Order| -> Vec<_> { (0..999).map(|session| order.pick(Some(SessionHash(mix(session, 3))), 0, |_| true)).collect() };
        assert_eq!(all(&last), all(&anew), "turn {turn}");
    }
}

#[test]
fn the_sessions_of_a_blocked_account_spread_over_all_others() {
    for count in [5, 20] {
        let candidates = many(count);
        let order = built(&candidates);
        let pick = |session| account_at(&candidates, order.pick(Some(SessionHash(mix(session, 9))), 0, |slot| slot != 2)).unwrap();
        let seen: BTreeSet<_> = (0..2000).map(pick).collect();
        assert_eq!(seen.len(), usize::try_from(count).unwrap() - 1);
        assert!(!seen.contains(&AccountId(3)));
    }
}

#[test]
fn a_higher_priority_is_drained_first_and_the_rest_takes_over() {
    let mut candidates = many(3);
    candidates[2].priority = 5;
    assert!(picks(&candidates, 50).iter().all(|account| *account == AccountId(3)));
    assert_eq!(built(&candidates).pick(None, 1, |slot| slot != 2), Some(0));
}

#[test]
fn a_login_that_cannot_serve_does_not_become_a_key() {
    let mut candidates = many(1);
    candidates.push(Candidate { priority: 9, ..Candidate::new(AccountId(9), Rung::LoginKey) });
    assert_eq!(built(&candidates).pick(None, 0, |slot| slot != 0), None);
}

#[test]
fn without_a_session_the_seed_spreads_requests() {
    let order = built(&many(4));
    let seen: BTreeSet<_> = (0..64).filter_map(|seed| order.pick(None, mix(seed, 0), |_| true)).collect();
    assert_eq!(seen.len(), 4);
}

#[test]
fn nothing_usable_is_said_as_nothing() {
    assert_eq!(built(&many(3)).pick(None, 0, |_| false), None);
    assert_eq!(built(&[]).pick(None, 0, |_| true), None);
}

#[test]
fn what_expires_first_is_spent_first() {
    // 0.5/24 h, 0.5/100 h, 0.1/2 h.
    let reports = [report((0.1, 3), (0.5, 100)), report((0.1, 3), (0.5, 24)), report((0.1, 3), (0.9, 2))];
    assert_eq!(ids(&built(&reported(&reports))), [3, 2, 1]);
}

#[test]
fn the_levels_below_the_drain_decide_in_turn() {
    // The same drain from less used: 0.8 in 80 h before 0.4 in 40 h.
    let used = [report((0.1, 3), (0.6, 40)), report((0.1, 3), (0.2, 80))];
    assert_eq!(ids(&built(&reported(&used))), [2, 1]);
    let primary = [report((0.4, 4), (0.5, 50)), report((0.4, 1), (0.5, 50)), report((0.4, 2), (0.5, 50))];
    assert_eq!(ids(&built(&reported(&primary))), [2, 3, 1]);
    let primary_used = [report((0.6, 2), (0.5, 50)), report((0.2, 4), (0.5, 50))];
    assert_eq!(ids(&built(&reported(&primary_used))), [2, 1]);
}

#[test]
fn a_hot_account_waits_for_the_others_and_serves_when_they_cannot() {
    let reports = [report((0.85, 1), (0.0, 9)), report((0.84, 1), (0.5, 100))];
    let candidates = reported(&reports);
    let order = built(&candidates);
    assert_eq!((ids(&order), order.best_tier_len()), (vec![2, 1], 1));
    assert_eq!(order.pick(Some(SessionHash(1)), 0, |slot| slot == 0), Some(0));
}

#[test]
fn a_reserve_is_kept_for_when_nothing_else_serves() {
    let reports = [report((0.1, 3), (0.92, 100)), report((0.1, 3), (0.92, 100)), report((0.88, 1), (0.99, 100))];
    let mut candidates = reported(&reports);
    candidates[0].reserve = Reserve::from_percent(10).unwrap();
    candidates[0].priority = 9;
    assert_eq!(ids(&built(&candidates)), [2, 3, 1], "neither a priority nor a hot sibling opens a reserve");
    assert_eq!(built(&candidates).pick(None, 0, |slot| slot == 0), Some(0));
    assert_eq!(chosen(&candidates, &wanted(1, Some((1, HOUR / 60)))), (AccountId(2), How::Ranked), "a warm session leaves it too");
    let alone = &candidates[..1];
    assert_eq!(chosen(alone, &wanted(1, Some((1, HOUR / 60)))), (AccountId(1), How::Warm));
}

#[test]
fn unknown_usage_stands_between_more_and_less() {
    let reports = [report((0.5, 5), (0.6, 168)), report((0.5, 5), (0.4, 168))];
    let mut candidates = reported(&reports);
    candidates.push(Candidate::new(AccountId(3), Rung::OAuth));
    assert_eq!(ids(&built(&candidates)), [2, 3, 1]);
}

#[test]
fn differences_in_the_seventh_digit_are_none() {
    let exact = Rule { near: 1.0, ..Rule::DEFAULT };
    let tier = |one: f64, other: f64| {
        let reports = [report((0.5, 5), (one, 168)), report((0.5, 5), (other, 168))];
        order(&reported(&reports), Scope::default(), &exact, NOW, &Order::default()).best_tier_len()
    };
    assert_eq!(tier(0.333_333_3, 0.333_333_4), 2);
    assert_eq!(tier(0.33, 0.34), 1);
}

#[test]
fn near_equals_share_the_sessions() {
    let reports = [report((0.1, 3), (0.50, 100)), report((0.1, 3), (0.55, 100)), report((0.1, 3), (0.9, 100))];
    let seen: BTreeSet<_> = picks(&reported(&reports), 100).into_iter().collect();
    assert_eq!(seen, BTreeSet::from([AccountId(1), AccountId(2)]));
}

#[test]
fn of_near_equals_the_one_whose_short_window_ends_first_takes_more_sessions() {
    let reports = [report((0.1, 5), (0.5, 100)), report((0.1, 1), (0.5, 100)), report((0.8, 5), (0.5, 100))];
    let shares = shares(&built(&reported(&reports)));
    let share = |id| shares[&AccountId(id)] as f64 / CELLS as f64;
    // Weights 1 (0.9 of a window in a whole one's time), 8 (in a fifth of it) and 1.
    assert!((share(2) - 0.8).abs() < 0.03, "{shares:?}");
    assert!((share(1) - 0.1).abs() < 0.03 && (share(3) - 0.1).abs() < 0.03, "{shares:?}");
}

#[test]
fn blocked_accounts_come_last_and_of_them_the_one_that_is_free_first() {
    let blocks =
        [block(BlockScope::Account, NOW.plus(HOUR * 2)), block(BlockScope::Account, NOW.plus(HOUR)), block(BlockScope::Account, NOW)];
    let mut candidates = many(4);
    for (candidate, block) in candidates.iter_mut().zip(&blocks) {
        candidate.blocks = std::slice::from_ref(block);
    }
    let order = built(&candidates);
    assert_eq!((ids(&order), order.best_tier_len()), (vec![3, 4, 2, 1], 2), "the third block has ended");
}

#[test]
fn an_exhausted_limit_holds_an_account_back_until_its_reset() {
    let reports = [report((1.0, 2), (0.1, 9)), report((0.1, 2), (0.5, 100)), report((0.2, 1), (1.0, 0))];
    let candidates = reported(&reports);
    assert_eq!(ids(&built(&candidates)), [3, 2, 1], "the third one's week has ended, and with it what was used");
    assert_eq!(ids(&order(&candidates, Scope::default(), &Rule::DEFAULT, NOW.plus(HOUR * 3), &Order::default()))[0], 1);
}

#[test]
fn limits_and_blocks_of_a_family_leave_other_models_alone() {
    let mut first = report((0.1, 3), (0.1, 100));
    first.limits.push(Limit {
        id: "7d:spark".into(),
        scope: BlockScope::Tier("spark".into()),
        ..limit(LimitRole::Secondary, 1.0, HOUR * 50)
    });
    let reports = [first, report((0.1, 3), (0.8, 100))];
    let mut candidates = reported(&reports);
    let spark = Scope { family: Some("spark"), plan: None };
    assert_eq!((ids(&built(&candidates)), ids(&scoped(&candidates, spark))), (vec![1, 2], vec![2, 1]));
    let blocks = [block(BlockScope::Tier("chat".into()), NOW.plus(HOUR))];
    candidates[1].blocks = &blocks;
    let chat = Scope { family: Some("chat"), plan: None };
    assert_eq!(scoped(&candidates, chat).accounts()[1], AccountId(2));
    assert_eq!(scoped(&candidates, spark).accounts()[0], AccountId(2));
}

#[test]
fn of_several_windows_the_one_that_leaves_least_an_hour_speaks() {
    let mut both = report((0.1, 3), (0.1, 100));
    both.limits.push(Limit { id: "7d:x".into(), ..limit(LimitRole::Secondary, 0.9, HOUR * 100) });
    let reports = [both, report((0.1, 3), (0.5, 100))];
    assert_eq!(ids(&built(&reported(&reports))), [2, 1]);
}

fn plans() -> PlanRules {
    let class = |name: &str, plans: &[&str]| PlanClass { name: name.into(), plans: plans.iter().map(ToString::to_string).collect() };
    let rows = vec![PlanRow { models: vec!["*-spark".into()], plans: vec!["pro".into()] }];
    PlanRules { classes: vec![class("pro", &["pro"]), class("paid", &["plus", "team"])], rows }
}

#[test]
fn a_model_for_one_plan_goes_to_accounts_that_have_it() {
    let rules = plans();
    let need = rules.row_of("gpt-spark").map(|row| PlanNeed { rules: &rules, row });
    let spark = Scope { family: None, plan: need };
    let with = |plans: &[Option<&'static str>]| -> Vec<Candidate<'static>> {
        many(i64::try_from(plans.len()).unwrap()).into_iter().zip(plans).map(|(one, plan)| Candidate { plan: *plan, ..one }).collect()
    };
    assert_eq!(ids(&scoped(&with(&[Some("plus"), None, Some("Pro"), Some("strange")]), spark)), [3, 2, 4], "plus is left out");
    assert_eq!(ids(&scoped(&with(&[Some("plus"), Some("team")]), spark)), [1, 2], "none is known to have it: no filter");
    assert_eq!(ids(&scoped(&with(&[Some("plus"), None]), spark)), [2, 1]);
    assert_eq!(ids(&built(&with(&[Some("plus"), Some("pro")]))), [1, 2], "another model asks for no plan");
    let told = explain(&with(&[Some("plus"), Some("pro")]), (spark, &Rule::DEFAULT), &wanted(1, None), |_| None);
    assert_eq!(told.considered[1].why_not, Some(WhyNot::Plan));
    let warm = wanted(1, Some((1, HOUR / 60)));
    let moved = explain(&with(&[None, Some("pro")]), (spark, &Rule::DEFAULT), &warm, |_| None);
    assert_eq!(moved.chosen, Some((AccountId(2), How::Ranked)), "a warm session moves to where the model is known to be");
}

#[test]
fn a_warm_session_stays_when_usage_shifts_and_moves_when_its_account_cannot_serve() {
    let reports = [report((0.95, 3), (0.9, 100)), report((0.1, 3), (0.1, 10))];
    let candidates = reported(&reports);
    let (warm, cold) = (wanted(5, Some((1, HOUR / 60))), wanted(5, Some((1, CACHE_LIFE))));
    assert_eq!(chosen(&candidates, &warm), (AccountId(1), How::Warm), "hot, and warm");
    assert_eq!(chosen(&candidates, &cold), (AccountId(2), How::Ranked), "cold: by order");
    let blocked =
        explain(&candidates, (Scope::default(), &Rule::DEFAULT), &warm, |one| (one == AccountId(1)).then(|| "blocked".to_owned()));
    assert_eq!(blocked.chosen, Some((AccountId(2), How::Ranked)));
    let note = blocked.cache.unwrap();
    assert_eq!((note.price, note.moved), (Price::ColdPromptCache { tokens: None }, true));
    assert_eq!(blocked.considered[1].why_not, Some(WhyNot::Unfit("blocked".into())));
}

#[test]
fn a_cold_session_stays_with_one_of_the_best() {
    for account in 1..=4 {
        assert_eq!(chosen(&many(4), &wanted(5, Some((account, HOUR)))), (AccountId(account), How::StillBest));
    }
}

#[test]
fn an_explanation_names_every_account_and_the_first_reason_against_it() {
    let reports = [
        report((0.1, 3), (0.2, 50)),
        report((0.1, 3), (0.9, 50)),
        report((0.9, 3), (0.2, 50)),
        report((0.1, 3), (0.97, 50)),
        report((1.0, 3), (0.2, 50)),
        report((0.1, 3), (0.2, 50)),
        report((0.1, 3), (0.2, 50)),
    ];
    let mut candidates = reported(&reports);
    candidates[3].reserve = Reserve::from_percent(5).unwrap();
    let blocks = [block(BlockScope::Account, NOW.plus(HOUR))];
    candidates[5].blocks = &blocks;
    candidates[6].priority = -1;
    candidates.push(Candidate::new(AccountId(8), Rung::ImportedKey));
    let told = explain(&candidates, (Scope::default(), &Rule::DEFAULT), &wanted(5, None), |_| None);
    assert_eq!((told.chosen, told.cache), (Some((AccountId(1), How::Ranked)), None));
    let reasons: Vec<_> = told.considered.iter().map(|one| (one.merit.account.0, one.tier, one.why_not.clone())).collect();
    let drain = told.considered[0].merit.secondary.drain;
    let held = |hours, by| WhyNot::Held { until: NOW.plus(HOUR * hours), by };
    let expected = [
        (1, Some(1), None),
        (2, Some(2), Some(WhyNot::Drain { chosen: drain })),
        (3, Some(3), Some(WhyNot::Hot)),
        (7, Some(4), Some(WhyNot::Priority { chosen: 0 })),
        (4, Some(5), Some(WhyNot::Reserve)),
        (6, Some(6), Some(held(1, HeldBy::Block))),
        (5, Some(7), Some(held(3, HeldBy::Exhausted))),
        (8, None, Some(WhyNot::Rung { won: Rung::OAuth })),
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn an_explanation_is_the_choice_again() {
    let candidates = many(9);
    let order = built(&candidates);
    for session in 0..200 {
        let wanted = wanted(mix(session, 2), None);
        let choice = choose(&order, &wanted, |_| None, |slot| slot % 3 > 0).map(|choice| choice.slot);
        let told = explain(&candidates, (Scope::default(), &Rule::DEFAULT), &wanted, |one| (one.0 % 3 == 1).then(String::new));
        assert_eq!(account_at(&candidates, choice), told.chosen.map(|(account, _)| account));
    }
}

#[test]
fn the_price_of_moving_is_the_cached_prompt_and_nothing_once_it_is_cold() {
    let price = |ago, tokens| {
        let mut wanted = wanted(5, Some((2, ago)));
        wanted.pin.as_mut().unwrap().cached_tokens = tokens;
        let told = explain(&many(3), (Scope::default(), &Rule::DEFAULT), &wanted, |_| None);
        told.cache.unwrap().price
    };
    assert_eq!(price(HOUR / 60, Some(40_000)), Price::ColdPromptCache { tokens: Some(40_000) });
    assert_eq!(price(HOUR, Some(40_000)), Price::Nothing);
}

#[test]
fn the_key_of_a_merit_never_contradicts_how_it_compares() {
    let bits = |session: u64, salt: u64, of: u64| mix(session, salt) % of;
    let reading =
        |bits: u64| Reading { used: 0.25, drain: [0.0, 1e-9, 0.5, 0.5 + 1e-15, 60.0][usize::try_from(bits).unwrap()], is_measured: true };
    let held = |bits: u64| {
        let by = [HeldBy::Exhausted, HeldBy::Block][usize::try_from(bits % 2).unwrap()];
        let until = [NOW, NOW.plus(HOUR), Timestamp::FAR_FUTURE, Timestamp(-1)].get(usize::try_from(bits / 2).unwrap()).copied();
        until.map(|until| Held { until, by })
    };
    let merit = |one: u64| Merit {
        account: AccountId(one.cast_signed()),
        held: held(bits(one, 1, 16)),
        plan: [Eligibility::Eligible, Eligibility::Unknown, Eligibility::Ineligible][usize::try_from(bits(one, 2, 3)).unwrap()],
        in_reserve: bits(one, 3, 2) == 0,
        priority: [i32::MIN, -1, 0, 1, i32::MAX][usize::try_from(bits(one, 4, 5)).unwrap()],
        is_hot: bits(one, 5, 2) == 0,
        secondary: reading(bits(one, 6, 5)),
        primary: reading(bits(one, 7, 5)),
        weight: 1,
    };
    let merits: Vec<Merit> = (0..1500).map(merit).collect();
    for one in &merits {
        for other in &merits {
            let by_key = one.key().cmp(&other.key());
            assert!(by_key.is_eq() || by_key == one.compare(other), "{one:?} {other:?}");
        }
    }
}
