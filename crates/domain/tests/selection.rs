//! Some weeks of the simulation behind `docs/selection.md`, on other seeds than those on which the order was tuned.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a simulation: its indices are its own, and its numbers are small"
)]

#[path = "../examples/selection/bound.rs"]
mod bound;
#[path = "../examples/selection/demand.rs"]
mod demand;
#[path = "../examples/selection/dice.rs"]
mod dice;
#[path = "../examples/selection/policies.rs"]
mod policies;
#[path = "../examples/selection/world.rs"]
mod world;

use claviger_domain::select::Rule;
use demand::{SHAPES, Scene};
use policies::{FillFirst, NewestOmp, OlderOmp, Ours, RoundRobin};
use world::{Outcome, Policy, live};

/// Four weeks each: 52 in all.
const RUNS: u64 = 13;
const SEEDS_FROM: u64 = 2_000_001;

fn under(scene: &Scene, mut policy: impl Policy) -> Outcome {
    live(scene, &mut policy)
}

#[test]
fn our_order_refuses_wastes_and_switches_less_than_others_and_the_bound_holds() {
    let sums = |outcome: fn(&Scene) -> Outcome, scenes: &[Scene]| {
        let mut sum = Outcome::default();
        for scene in scenes {
            sum.add(&outcome(scene));
        }
        sum
    };
    let scenes: Vec<Scene> = (SEEDS_FROM..SEEDS_FROM + RUNS).map(Scene::new).collect();
    for shape in SHAPES {
        assert!(scenes.iter().any(|scene| scene.shape == shape), "no scene of: {}", shape.title());
    }
    let ours = sums(|scene| under(scene, Ours::new(Rule::DEFAULT)), &scenes);
    let newest = sums(|scene| under(scene, NewestOmp), &scenes);
    let older = sums(|scene| under(scene, OlderOmp), &scenes);
    let turns = sums(|scene| under(scene, RoundRobin::default()), &scenes);
    let filling = sums(|scene| under(scene, FillFirst), &scenes);
    let bound = sums(bound::bound, &scenes);
    assert!(ours.refused <= newest.refused && ours.wasted <= newest.wasted && ours.switched <= newest.switched, "{ours:?} {newest:?}");
    assert!(ours.refused < turns.refused && ours.refused < filling.refused, "{ours:?} {turns:?} {filling:?}");
    for outcome in [ours, newest, older, turns, filling] {
        assert!(bound.refused <= outcome.refused && bound.wasted <= outcome.wasted, "{bound:?} {outcome:?}");
        assert!((bound.asked - outcome.asked).abs() < 1e-3 && (bound.held - outcome.held).abs() < 1e-3, "{bound:?} {outcome:?}");
    }
}

#[test]
fn a_scene_lived_through_again_comes_out_the_same() {
    let scene = || Scene::new(SEEDS_FROM);
    let once = || live(&scene(), &mut Ours::new(Rule::DEFAULT));
    assert_eq!(once(), once());
}
