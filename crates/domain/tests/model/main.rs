//! The refresh protocol as a model: the real `step`, driven by every order of processes, faults and time.
//!
//! `cargo nextest run -p claviger-domain --test model` runs it; `docs/proof.md` says what it shows and what it leaves out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a model that is surprised has failed, and it tells how much it has seen"
)]

mod checker;
mod executor;
mod machine;
mod promises;
mod walk;
mod world;

use checker::{Counterexample, Explored, explore};
use claviger_testkit::proof_row;
use executor::{Executor, Order};
use promises::Promises;
use std::collections::BTreeSet;
use walk::walk;
use world::{Profile, World};

/// Processes on one vault. They are alike, so that a fourth one adds nothing but waiting.
const PROCESSES: usize = 3;
const PROFILES: [Profile; 3] = [Profile::Strict, Profile::Grace, Profile::NonRotating];
/// Walks, unless `CLAVIGER_PROOF_SEEDS` says how many.
const SEEDS: u64 = 10_000;

fn check(executor: &Executor, profile: Profile, processes: usize, faults_max: Option<u8>) -> Result<Explored, Counterexample> {
    let mut promises = Promises::new(executor, profile, faults_max.is_some());
    explore(&World::new(processes), |world| executor.moves(world), |world| promises.judge(world))
}

fn holds(profile: Profile, faults_max: Option<u8>) {
    let executor = Executor::new(profile, Order::AsThePool, faults_max);
    let Explored { states, moves, depth } = check(&executor, profile, PROCESSES, faults_max).unwrap();
    let faults = faults_max.map_or("any number of faults".to_owned(), |most| format!("faults: at most {most}"));
    println!("{profile:?}: {PROCESSES} processes, {faults}: {states} states, {moves} moves, depth {depth}");
    proof_row(
        &format!("model: {}, {PROCESSES} processes, {faults}", words(profile)),
        states as u64,
        states as u64,
        &format!("0 broken promises in {moves} moves, depth {depth}"),
    );
    // A search that never gets anywhere finds nothing wrong either.
    let mut all = BTreeSet::from(["Connect", "Journal", "Send", "ReadSpill", "Withdraw", "Store", "Refreshed", "Adopted", "Failed"]);
    if profile != Profile::NonRotating {
        all.extend(["Bury", "Dead", "UsingUp", "Quarantined"]);
    }
    assert_eq!(executor.asked().iter().map(String::as_str).collect::<BTreeSet<_>>(), all);
}

/// A broken executor is found out, by one of these promises.
fn is_caught(profile: Profile, order: Order, processes: usize, expected: &str) {
    let executor = Executor::new(profile, order, None);
    let found =
        check(&executor, profile, processes, None).map_or_else(|found| found, |explored| panic!("{order:?} went unseen: {explored:?}"));
    println!("{order:?}: {found:?}");
    assert!(found.broken.starts_with(expected), "{found:?}");
    proof_row(&format!("model: control, {}: {}", words(profile), words(order)), 1, 1, &format!("caught: {expected}"));
}

/// The name of a variant as words in lower case.
fn words(variant: impl std::fmt::Debug) -> String {
    let name = format!("{variant:?}");
    let spaced = name.chars().flat_map(|letter| letter.is_uppercase().then_some(' ').into_iter().chain(letter.to_lowercase()));
    spaced.collect::<String>().trim_start().to_owned()
}

#[test]
fn no_order_of_events_breaks_a_promise_with_a_strict_provider() {
    holds(Profile::Strict, None);
}

#[test]
fn no_order_of_events_breaks_a_promise_with_a_grace_window() {
    holds(Profile::Grace, None);
}

#[test]
fn no_order_of_events_breaks_a_promise_with_a_provider_that_does_not_rotate() {
    holds(Profile::NonRotating, None);
}

#[test]
fn one_fault_buries_no_grant_that_was_not_consumed_and_none_inside_its_grace_window() {
    for profile in PROFILES {
        holds(profile, Some(1));
    }
}

#[test]
fn random_walks_of_five_processes_break_no_promise() {
    let seeds = seeds();
    let mut steps = 0;
    for profile in PROFILES {
        let executor = Executor::new(profile, Order::AsThePool, None);
        let of_profile: Vec<u64> = (0..seeds).filter(|seed| PROFILES[usize::try_from(seed % 3).unwrap()] == profile).collect();
        for some in of_profile.chunks(10_000) {
            // Judged anew for each chunk: what is remembered of settled states would fill the memory in a long run.
            let mut promises = Promises::new(&executor, profile, false);
            for seed in some {
                let walked = walk(&executor, &mut promises, &World::new(5), *seed);
                steps += walked.unwrap_or_else(|found| panic!("{profile:?}, seed {seed}: {found:?}"));
            }
        }
    }
    println!("{seeds} walks: {steps} steps");
    proof_row("model: random walks of 5 processes", seeds, seeds, &format!("{steps} steps, 0 broken promises"));
}

/// How many walks are made: the one place where the model reads the environment.
#[expect(clippy::disallowed_methods, reason = "a test takes its length from whoever runs it")]
fn seeds() -> u64 {
    std::env::var("CLAVIGER_PROOF_SEEDS").map_or(SEEDS, |count| count.parse().unwrap())
}

#[test]
fn a_journal_that_is_written_after_sending_is_caught() {
    is_caught(Profile::Strict, Order::JournalsAfterSending, 1, "I1");
}

#[test]
fn a_forgotten_intent_is_caught() {
    is_caught(Profile::Strict, Order::ForgetsTheIntent, 1, "I1");
}

#[test]
fn a_miscounted_intent_is_caught() {
    is_caught(Profile::Strict, Order::CountsOneAttempt, 1, "I1");
}

#[test]
fn an_ignored_spill_is_caught() {
    is_caught(Profile::Strict, Order::IgnoresTheSpill, 1, "I2");
}

#[test]
fn a_slot_that_cannot_be_read_and_is_taken_for_empty_is_caught() {
    is_caught(Profile::Strict, Order::TakesAnUnreadSlotForEmpty, 1, "I2");
}

#[test]
fn a_slot_that_is_removed_before_its_answer_is_stored_is_caught() {
    is_caught(Profile::Strict, Order::RemovesTheSlotBeforeStoring, 1, "I2");
}

#[test]
fn a_token_that_is_published_before_it_is_stored_is_caught() {
    is_caught(Profile::Strict, Order::PublishesBeforeStoring, 1, "I3");
}

#[test]
fn a_dead_grant_that_is_sent_is_caught() {
    is_caught(Profile::Strict, Order::ForgetsDeath, 1, "I3");
}

#[test]
fn a_quarantine_that_is_forgotten_is_caught() {
    for profile in [Profile::Strict, Profile::Grace] {
        is_caught(profile, Order::ForgetsTheQuarantine, 1, "I4");
    }
}

#[test]
fn a_loss_that_is_taken_for_not_sent_is_caught() {
    is_caught(Profile::Strict, Order::TakesALossForNotSent, 1, "I1");
}

#[test]
fn processes_without_a_lock_are_caught() {
    for profile in [Profile::Strict, Profile::Grace] {
        is_caught(profile, Order::TakesNoLock, 2, "I1");
    }
}

#[test]
fn a_grant_that_never_settles_is_caught() {
    is_caught(Profile::Strict, Order::NeverReadsASlot, 1, "a grant is neither refreshed nor dead");
}

#[test]
fn a_row_that_keeps_the_old_token_is_caught() {
    is_caught(Profile::Strict, Order::KeepsTheOldToken, 1, "a refreshed grant does not hold");
}
