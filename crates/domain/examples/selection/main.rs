//! Four weeks at a time, under six policies: who refuses least, wastes least, and leaves fewest warm prompt caches.
//!
//! ```text
//! cargo run --release -p claviger-domain --example selection                  1,000 weeks on the seeds that are reported
//! cargo run --release -p claviger-domain --example selection -- --write docs  the same, into docs/selection.md and .svg
//! cargo run --release -p claviger-domain --example selection -- --train       on the seeds on which the order was tuned
//! cargo run --release -p claviger-domain --example selection -- --runs 25     fewer weeks: four for each run
//! ```

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a simulation: its figures are printed, its indices are its own, and its numbers are small"
)]

mod bound;
mod demand;
mod dice;
mod policies;
mod report;
mod world;

use claviger_domain::select::Rule;
use demand::{HOUR, SHAPES, Scene};
use policies::{FillFirst, NewestOmp, OlderOmp, Ours, RoundRobin};
use report::{Row, figure, table};
use std::path::Path;
use world::{Outcome, Policy, live};

/// Four weeks each: a thousand in all.
const RUNS: u64 = 250;
/// The order was tuned on seeds from 1 on; what is reported comes from others.
const TRAINED_FROM: u64 = 1;
const REPORTED_FROM: u64 = 1_000_001;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let runs = value("--runs").map_or(RUNS, |runs| runs.parse().unwrap());
    let from = if args.iter().any(|arg| arg == "--train") { TRAINED_FROM } else { REPORTED_FROM };
    let (mut all, mut variants, mut without_cost) = (Tally::default(), Tally::default(), Tally::default());
    let mut shaped = SHAPES.map(|_| Tally::default());
    for seed in from..from + runs {
        let scene = Scene::new(seed);
        let outcomes = outcomes(&scene);
        all.add(&outcomes);
        shaped[SHAPES.iter().position(|shape| *shape == scene.shape).unwrap()].add(&outcomes);
        variants.add(&[outcomes[0], outcomes[5]]);
        variants.add(&variant_outcomes(&scene));
        let free = Scene::with(seed, 1.0);
        without_cost.add(&[("bound", bound::bound(&free)), ("newest omp order", live(&free, &mut NewestOmp)), ("ours", ours(&free))]);
    }
    let mut sections = vec![
        format!("{} weeks, seeds from {from}.\n\n{}", runs * 4, table(&all.0)),
        format!("The same where a cold prompt cache costs nothing:\n\n{}", table(&without_cost.0)),
        format!("Our rule with other numbers:\n\n{}", table(&variants.0)),
    ];
    for (shape, tally) in SHAPES.iter().zip(&shaped).filter(|(_, tally)| !tally.0.is_empty()) {
        sections.push(format!("{}:\n\n{}", shape.title(), table(&tally.0)));
    }
    let text = sections.join("\n");
    println!("{text}");
    if let Some(folder) = value("--write") {
        write(Path::new(folder), &text, &figure(&all.0, runs));
    }
}

/// What came of one scene under each policy, the bound first and ours last.
fn outcomes(scene: &Scene) -> [(&'static str, Outcome); 6] {
    let under = |policy: &mut dyn Policy| live(scene, policy);
    [
        ("bound", bound::bound(scene)),
        ("round robin", under(&mut RoundRobin::default())),
        ("fill first", under(&mut FillFirst)),
        ("older omp order", under(&mut OlderOmp)),
        ("newest omp order", under(&mut NewestOmp)),
        ("ours", ours(scene)),
    ]
}

fn ours(scene: &Scene) -> Outcome {
    live(scene, &mut Ours::new(Rule::DEFAULT))
}

/// Our order with other numbers.
fn variant_outcomes(scene: &Scene) -> [(&'static str, Outcome); 8] {
    let believing = |life: f64| {
        let mut ours = Ours::new(Rule::DEFAULT);
        ours.believed_life = Some(life);
        live(scene, &mut ours)
    };
    let with = |near: f64, hot_from: f64| live(scene, &mut Ours::new(Rule { near, hot_from }));
    [
        ("near 1: only exact ties share", with(1.0, 0.85)),
        ("near 0.7", with(0.7, 0.85)),
        ("near 0.2", with(0.2, 0.85)),
        ("near 0: all share", with(0.0, 0.85)),
        ("hot from 0.7", with(0.4, 0.7)),
        ("hot from 0.95", with(0.4, 0.95)),
        ("caches taken to live 5 minutes", believing(300.0)),
        ("caches taken to live an hour", believing(HOUR)),
    ]
}

/// Sums by policy.
#[derive(Default)]
struct Tally(Vec<Row>);

impl Tally {
    fn add(&mut self, outcomes: &[(&'static str, Outcome)]) {
        for (name, outcome) in outcomes {
            match self.0.iter_mut().find(|row| row.name == *name) {
                Some(row) => row.outcome.add(outcome),
                None => self.0.push(Row { name: (*name).to_owned(), outcome: *outcome }),
            }
        }
    }
}

const BEGIN: &str = "<!-- written by the example `selection`: begin -->\n";
const END: &str = "<!-- written by the example `selection`: end -->\n";

/// Puts the tables between their marks and the figure beside them.
fn write(folder: &Path, tables: &str, figure: &str) {
    let page = folder.join("selection.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the mark of the beginning");
    let (_, after) = rest.split_once(END).expect("the page has the mark of the end");
    std::fs::write(&page, format!("{before}{BEGIN}\n{tables}\n{END}{after}")).unwrap();
    std::fs::write(folder.join("selection.svg"), figure).unwrap();
}
