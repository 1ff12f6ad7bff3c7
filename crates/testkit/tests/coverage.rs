//! `docs/coverage.toml` says nothing that is not so: every row is there, and every test and command that it names exists.

#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How many rows the union list has.
const ROWS: u32 = 353;

/// Rows in which the architecture chose another observable.
const DIFFERS_BY_ARCHITECTURE: [u32; 11] = [4, 29, 72, 138, 158, 269, 271, 277, 289, 290, 291];

/// The macro that makes a test for each implementation of what it is given.
const EACH: &str = "both! {";

/// How far above a function its test attribute may stand.
const ATTRIBUTE_WITHIN_LINES: usize = 8;

#[derive(Deserialize)]
struct Coverage {
    rows: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    area: String,
    title: String,
    status: Status,
    #[serde(default)]
    shown_by: Vec<String>,
    #[serde(default)]
    note: String,
    /// The record that argues a difference, below `docs/`.
    #[serde(default)]
    see: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Done,
    Differs,
    Later,
}

/// What is read of a package's manifest.
#[derive(Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// The places in which things that are named can be found.
struct World {
    /// Test functions by crate.
    tests: BTreeMap<String, BTreeSet<String>>,
    /// What the README and the tour run.
    commands: String,
    /// The records below `docs/`.
    records: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

/// The names of the test functions in a source text; `suite` also takes the functions of a shared suite. Functions in a block of
/// [`EACH`] are tests.
fn tests_in(text: &str, suite: bool) -> BTreeSet<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut names = BTreeSet::new();
    let mut in_each = false;
    for (number, line) in lines.iter().enumerate() {
        in_each = *line == EACH || (in_each && *line != "}");
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let Some((name, _)) = after.split_once(['(', '<']) else { continue };
        let above = lines.get(number.saturating_sub(ATTRIBUTE_WITHIN_LINES)..number).unwrap_or_default().iter().rev();
        let attributed = above
            .take_while(|line| !line.contains("fn ") && line.trim() != "}")
            .any(|line| ["#[test", "#[tokio::test", "#[case", "#[rstest"].iter().any(|attribute| line.trim().starts_with(attribute)));
        if attributed || in_each || (suite && before.trim_start().starts_with("pub async")) {
            names.insert(name.trim().to_owned());
        }
    }
    names
}

/// The name of the package in a folder of `crates`.
fn package(folder: &Path) -> String {
    let manifest: Manifest = toml::from_str(&std::fs::read_to_string(folder.join("Cargo.toml")).unwrap()).unwrap();
    manifest.package.name
}

fn world() -> World {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let krate = package(&folder);
        let mut sources = Vec::new();
        files(&folder.join("src"), ".rs", &mut sources);
        files(&folder.join("tests"), ".rs", &mut sources);
        for source in sources {
            // The suites of the testkit run in the crates that implement what they test.
            let suite = source.components().any(|part| part.as_os_str().to_string_lossy().contains("_suite"));
            let krate = if suite { "claviger-store".to_owned() } else { krate.clone() };
            tests.entry(krate).or_default().extend(tests_in(&std::fs::read_to_string(&source).unwrap(), suite));
        }
    }
    let commands = ["README.md", "tools/tour"].map(|file| std::fs::read_to_string(root().join(file)).unwrap()).concat();
    let mut records = Vec::new();
    files(&root().join("docs"), ".md", &mut records);
    let records = records.iter().map(|path| path.strip_prefix(root().join("docs")).unwrap().to_string_lossy().into_owned()).collect();
    World { tests, commands, records }
}

/// What is wrong with a coverage file.
fn faults(coverage: &Coverage, world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let known: BTreeSet<u32> = coverage.rows.keys().filter_map(|id| id.parse().ok()).collect();
    faults.extend((1..=ROWS).filter(|id| !known.contains(id)).map(|id| format!("row {id} is missing")));
    for (id, row) in &coverage.rows {
        let number: u32 = id.parse().unwrap_or(0);
        if !(1..=ROWS).contains(&number) {
            faults.push(format!("{id} is no row"));
        }
        let mut fault = |what: &str| faults.push(format!("row {id} ({}): {what}", row.title));
        match row.status {
            Status::Done if row.shown_by.is_empty() => fault("done, and shown by nothing"),
            Status::Differs if row.note.is_empty() => fault("differs, and does not say in what"),
            Status::Differs if row.see.is_none() && !DIFFERS_BY_ARCHITECTURE.contains(&number) => fault("differs, and no record argues it"),
            Status::Later if row.note.is_empty() || row.note == "open" => fault("later, without a reason"),
            _ => {}
        }
        if let Some(see) = row.see.as_ref().filter(|see| !world.records.contains(*see)) {
            fault(&format!("docs/{see} does not exist"));
        }
        for shown in &row.shown_by {
            if let Some(why) = missing(shown, world) {
                fault(&why);
            }
        }
    }
    faults
}

/// Why something that is named does not show anything.
fn missing(shown: &str, world: &World) -> Option<String> {
    if let Some(command) = shown.strip_prefix("$ ") {
        return (!world.commands.contains(command)).then(|| format!("neither README nor tour runs `{command}`"));
    }
    let Some((krate, name)) = shown.split_once(": ") else { return Some(format!("{shown:?} is neither a test nor a command")) };
    let name = name.rsplit("::").next().unwrap_or(name);
    let there = world.tests.get(krate).is_some_and(|tests| tests.contains(name));
    (!there).then(|| format!("{krate} has no test {name}"))
}

#[test]
fn every_row_is_covered_as_the_file_says() {
    let text = std::fs::read_to_string(root().join("docs/coverage.toml")).unwrap();
    let coverage: Coverage = toml::from_str(&text).unwrap();
    let faults = faults(&coverage, &world());
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for row in coverage.rows.values() {
        counts.entry(&row.area).or_default()[row.status as usize] += 1;
    }
    let mut table = String::from("area done differs later\n");
    for (area, [done, differs, later]) in counts {
        writeln!(table, "{area:4} {done:4} {differs:7} {later:5}").unwrap();
    }
    println!("{table}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_test_that_does_not_exist_shows_nothing() {
    let world = World {
        tests: BTreeMap::from([("claviger-a".to_owned(), tests_in("#[test]\nfn it_holds() {}\nfn it_helps() {}\n", false))]),
        commands: "claviger usage\n".to_owned(),
        records: BTreeSet::new(),
    };
    for good in ["claviger-a: it_holds", "claviger-a: tests::it_holds", "$ claviger usage"] {
        assert_eq!(missing(good, &world), None, "{good}");
    }
    for bad in ["claviger-a: it_helps", "claviger-a: it", "claviger-b: it_holds", "it_holds", "$ claviger fly", ""] {
        assert!(missing(bad, &world).is_some(), "{bad}");
    }
}

#[test]
fn a_row_without_its_proof_or_its_reason_is_a_fault() {
    let world = World { tests: BTreeMap::new(), commands: String::new(), records: BTreeSet::new() };
    let row = |text: &str| -> Vec<String> {
        let coverage: Coverage = toml::from_str(&format!("[rows.1]\narea = \"A\"\ntitle = \"t\"\n{text}")).unwrap();
        faults(&coverage, &world).into_iter().filter(|fault| fault.starts_with("row 1 ")).collect()
    };
    for bad in [
        "status = \"done\"",
        "status = \"differs\"",
        "status = \"differs\"\nnote = \"n\"",
        "status = \"later\"",
        "status = \"later\"\nnote = \"open\"",
    ] {
        assert_eq!(row(bad).len(), 1, "{bad}");
    }
    assert!(row("status = \"later\"\nnote = \"comes with the broker\"").is_empty());
}
