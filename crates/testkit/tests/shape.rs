//! The shape of the workspace, held by tests: arrows between crates, vendor names, sizes, limits, and what documents say.
//!
//! Each rule is a function from text to faults, and each has a control that shows it can fail.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a crate may depend on outside its tests. Everything may use domain, and all but domain runtime.
const ARROWS: [(&str, &[&str]); 15] = [
    ("domain", &[]),
    ("runtime", &["domain"]),
    ("contract", &["domain", "runtime"]),
    ("admin", &["domain", "runtime", "contract"]),
    ("oauth", &["domain", "runtime"]),
    ("egress", &["domain", "runtime"]),
    ("store", &["domain", "runtime"]),
    ("providers", &["domain", "runtime", "oauth", "egress"]),
    ("pool", &["domain", "runtime", "contract", "admin", "oauth", "egress", "providers", "store"]),
    ("gateway", &["domain", "runtime", "contract", "egress"]),
    ("simulator", &[]),
    ("faultdisk", &[]),
    ("cli", &["domain", "runtime", "contract", "admin", "oauth", "egress", "store", "providers", "pool", "gateway", "simulator"]),
    ("testkit", &["domain", "runtime", "contract", "admin", "store", "simulator"]),
    (
        "proof",
        &["domain", "runtime", "contract", "admin", "oauth", "egress", "store", "providers", "pool", "gateway", "simulator", "testkit"],
    ),
];

/// The only crates whose code may name a vendor; tests may everywhere, and the help texts of `cli` give examples.
const VENDOR_CRATES: [&str; 4] = ["providers", "simulator", "testkit", "proof"];
const VENDORS: [&str; 8] = ["anthropic", "openai", "codex", "gemini", "google", "kimi", "copilot", "claude"];

/// Lines of a source file without its tests: past that it has more than one reason to exist.
const FILE_LINES_MAX: usize = 800;

/// A number with one of these words in its name is a limit, as is every `Duration`; `tools/defaults` has the same list.
const LIMIT_WORDS: [&str; 15] = [
    "MAX", "MIN", "LIMIT", "TIMEOUT", "INTERVAL", "WAIT", "DELAY", "PAUSE", "RETRY", "RETRIES", "LEAD", "PROBES", "ROUNDS", "CELLS", "SLOT",
];
const NUMBERS: [&str; 9] = ["u8", "u16", "u32", "u64", "usize", "i16", "i32", "i64", "f64"];

/// One source file.
struct Source {
    krate: String,
    /// Below the crate's folder.
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_production(&self) -> bool {
        self.path.starts_with("src") && !self.path.ends_with("tests.rs") && !self.path.iter().any(|part| part == "tests")
    }

    /// The code without the tests at its end.
    fn production(&self) -> &str {
        self.text.split_once("#[cfg(test)]").map_or(self.text.as_str(), |(code, _tests)| code)
    }

    fn at(&self, line: usize) -> String {
        format!("{}/{}:{}", self.krate, self.path.display(), line + 1)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies two folders deep").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for krate in crates() {
        let folder = root().join("crates").join(&krate);
        let mut open = vec![folder.clone()];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).expect("a folder of the workspace is readable") {
                let path = entry.expect("an entry is readable").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("a source is text");
                    let path = path.strip_prefix(&folder).expect("it lies in the crate").to_owned();
                    found.push(Source { krate: krate.clone(), path, text });
                }
            }
        }
    }
    assert!(found.len() > 50, "{} sources found: the search looks in the wrong place", found.len());
    found
}

fn planted(krate: &str, text: &str) -> Source {
    Source { krate: krate.to_owned(), path: "src/planted.rs".into(), text: text.to_owned() }
}

fn crates() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("crates")).expect("the workspace has crates");
    entries.map(|entry| entry.expect("an entry is readable").file_name().into_string().expect("a crate's name is text")).collect()
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Arrows outside tests, by the names of the crates' folders, as cargo itself reads the manifests.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut arrows = BTreeMap::new();
    for package in list(&metadata, "packages") {
        let manifest = PathBuf::from(text(&package, "manifest_path").expect("a package has a manifest"));
        let from = manifest.parent().and_then(last).expect("a manifest has a folder");
        let kept = list(&package, "dependencies").into_iter().filter(|dependency| text(dependency, "kind").as_deref() != Some("dev"));
        arrows.insert(from, kept.filter_map(|dependency| last(Path::new(&text(&dependency, "path")?))).collect());
    }
    arrows
}

fn forbidden(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut faults = Vec::new();
    for (from, tos) in arrows {
        let Some(allowed) = allowed.get(from.as_str()) else {
            faults.push(format!("{from} has no line in the table of arrows"));
            continue;
        };
        faults.extend(tos.iter().filter(|to| !allowed.contains(&to.as_str())).map(|to| format!("{from} must not depend on {to}")));
    }
    faults
}

#[test]
fn crates_depend_on_what_the_table_of_arrows_allows_and_on_nothing_else() {
    let arrows = arrows();
    assert_eq!(arrows.keys().cloned().collect::<BTreeSet<_>>(), crates(), "cargo and the folder name the same crates");
    none(&forbidden(&arrows));
    let to = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(forbidden(&BTreeMap::from([("gateway".into(), to("pool"))])), ["gateway must not depend on pool"]);
    assert_eq!(forbidden(&BTreeMap::from([("new".into(), to("domain"))])), ["new has no line in the table of arrows"]);
}

fn vendor_names(source: &Source) -> Vec<String> {
    if VENDOR_CRATES.contains(&source.krate.as_str()) || !source.is_production() {
        return Vec::new();
    }
    let is_help = |line: &str| source.krate == "cli" && line.trim_start().starts_with("///");
    let named = |line: &str| VENDORS.into_iter().filter(|_| !is_help(line)).find(|vendor| line.to_ascii_lowercase().contains(vendor));
    let lines = source.production().lines().enumerate();
    lines.filter_map(|(number, line)| named(line).map(|vendor| format!("{} names {vendor}", source.at(number)))).collect()
}

#[test]
fn only_providers_simulator_and_tests_name_a_vendor() {
    none(&sources().iter().flat_map(vendor_names).collect::<Vec<_>>());
    assert_eq!(vendor_names(&planted("pool", "fn ok() {}\n// as Claude Code does\n")), ["pool/src/planted.rs:2 names claude"]);
    assert!(vendor_names(&planted("cli", "    /// The provider, for instance openai\n")).is_empty());
    assert_eq!(vendor_names(&planted("cli", "match \"openai\" {}\n")).len(), 1);
    assert!(vendor_names(&planted("providers", "const NAME: &str = \"openai\";")).is_empty());
    assert!(vendor_names(&planted("pool", "#[cfg(test)]\nmod tests { /* openai */ }")).is_empty());
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.production().lines().count();
    let long = source.path.starts_with("src") && !source.path.ends_with("tests.rs") && lines > FILE_LINES_MAX;
    long.then(|| format!("{}/{} has {lines} lines", source.krate, source.path.display())).into_iter().collect()
}

#[test]
fn a_file_has_at_most_800_lines_without_its_tests() {
    none(&sources().iter().flat_map(too_long).collect::<Vec<_>>());
    assert_eq!(too_long(&planted("pool", &"\n".repeat(801))), ["pool/src/planted.rs has 801 lines"]);
    assert!(too_long(&planted("pool", &"\n".repeat(800))).is_empty());
}

/// Words that no source may contain, written so that this file does not contain them.
const LEFT_OVER: [&str; 5] =
    [concat!("al", "low("), concat!("to", "do!"), concat!("unimple", "mented!"), concat!("FIX", "ME"), concat!("TO", "DO")];

fn left_over(source: &Source) -> Vec<String> {
    let [allowed, rest @ ..] = LEFT_OVER;
    let in_line = |line: &str| {
        let is_allow = line.trim_start().starts_with('#') && line.contains(allowed);
        if is_allow { Some(allowed) } else { rest.into_iter().find(|word| line.contains(word)) }
    };
    source
        .text
        .lines()
        .enumerate()
        .filter_map(|(number, line)| in_line(line).map(|word| format!("{} has {word}", source.at(number))))
        .collect()
}

#[test]
fn no_source_silences_a_lint_without_a_reason_or_leaves_work_for_later() {
    none(&sources().iter().flat_map(left_over).collect::<Vec<_>>());
    for planted_word in [
        concat!("#[al", "low(dead_code)]"),
        concat!("#![cfg_attr(test, al", "low(dead_code))]"),
        concat!("    to", "do!()"),
        concat!("// FIX", "ME"),
    ] {
        assert_eq!(left_over(&planted("pool", &format!("fn ok() {{}}\n{planted_word}\n"))).len(), 1, "{planted_word}");
    }
}

fn nameless_purpose(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let fault = source.is_production() && !first.starts_with("//! ");
    fault.then(|| format!("{} does not begin with its reason to exist", source.at(0))).into_iter().collect()
}

#[test]
fn every_file_begins_with_its_reason_to_exist() {
    none(&sources().iter().flat_map(nameless_purpose).collect::<Vec<_>>());
    assert_eq!(nameless_purpose(&planted("pool", "use std::fmt;\n")).len(), 1);
}

/// Names of the limits in a file.
fn limits(source: &Source) -> Vec<&str> {
    let constant = |line: &'_ str| -> Option<(usize, usize)> {
        let start = line.find("const ")? + "const ".len();
        let visible = line.get(..start)?.trim_start();
        (visible.starts_with("const") || visible.starts_with("pub")).then_some((start, start + line.get(start..)?.find(':')?))
    };
    let mut names = Vec::new();
    for line in source.production().lines() {
        let Some((name, rest)) = constant(line).and_then(|(start, end)| Some((line.get(start..end)?, line.get(end + 1..)?))) else {
            continue;
        };
        let kind = rest.split('=').next().unwrap_or_default().trim();
        if kind == "Duration" || (NUMBERS.contains(&kind) && name.split('_').any(|word| LIMIT_WORDS.contains(&word))) {
            names.push(name);
        }
    }
    names
}

fn unlisted(source: &Source, listed: &str) -> Vec<String> {
    if !source.is_production() {
        return Vec::new();
    }
    let heading = format!("\n## {}\n", source.krate);
    let section = listed.split_once(&heading).map_or("", |(_, after)| after.split("\n## ").next().unwrap_or_default());
    let missing = limits(source).into_iter().filter(|name| !section.contains(&format!("| `{name}` |")));
    missing.map(|name| format!("docs/defaults.md does not list {name} of {}: run tools/defaults", source.krate)).collect()
}

#[test]
fn every_limit_is_listed_in_the_defaults() {
    let listed = read("docs/defaults.md");
    none(&sources().iter().flat_map(|source| unlisted(source, &listed)).collect::<Vec<_>>());
    let source = planted("pool", "pub const A_MAX: usize = 1;\nconst B: Duration = X;\npub(crate) const NAME: &str = \"\";\n");
    assert_eq!(unlisted(&source, "\n## pool\n| `B` | 1 s | why |\n## store\n| `A_MAX` | 1 | why |\n").len(), 1);
}

fn without_line(crates: &BTreeSet<String>, document: &str) -> Vec<String> {
    crates
        .iter()
        .filter(|name| !document.contains(&format!("\n| `{name}` |")))
        .map(|name| format!("ARCHITECTURE.md has no line for {name}"))
        .collect()
}

#[test]
fn every_crate_has_its_line_in_the_code_map() {
    none(&without_line(&crates(), &read("ARCHITECTURE.md")));
    let new = BTreeSet::from(["new".to_owned()]);
    assert_eq!(without_line(&new, "\n| `newer` | is another |"), ["ARCHITECTURE.md has no line for new"]);
}

/// Names of tests that a document mentions: code spans that are sentences in snake case.
fn mentioned(document: &str) -> BTreeSet<&str> {
    let sentence = |span: &&str| {
        span.matches('_').count() >= 3 && span.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    };
    document.split('`').skip(1).step_by(2).filter(sentence).collect()
}

fn invented(document: &str, sources: &[Source]) -> Vec<String> {
    let exists = |name: &str| sources.iter().any(|source| source.text.contains(&format!("fn {name}(")));
    mentioned(document).into_iter().filter(|name| !exists(name)).map(|name| format!("no test is called {name}")).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources = sources();
    for document in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "docs/failures.md"] {
        none(&invented(&read(document), &sources));
    }
    let source = [planted("pool", "fn a_name_that_exists() {}")];
    assert_eq!(invented("`a_name_that_exists` and `a_name_that_does_not`", &source), ["no test is called a_name_that_does_not"]);
}

/// Relative links of a document that lead nowhere.
fn dead_links(folder: &Path, document: &str) -> Vec<String> {
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let paths = targets.filter_map(|target| target.split('#').next()).filter(|path| !path.is_empty() && !path.contains("://"));
    paths.filter(|path| !folder.join(path).exists()).map(|path| format!("a link leads nowhere: {path}")).collect()
}

#[test]
fn every_relative_link_of_a_document_leads_somewhere() {
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in ["", "docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder of documents is readable");
        documents.extend(
            entries.map(|entry| entry.expect("an entry is readable").path()).filter(|path| path.extension().is_some_and(|end| end == "md")),
        );
    }
    assert!(documents.len() > 5, "the search looks in the wrong place");
    for path in documents {
        let text = std::fs::read_to_string(&path).expect("a document is text");
        let faults = dead_links(path.parent().expect("a file has a folder"), &text);
        assert!(faults.is_empty(), "{}: {}", path.display(), faults.join("\n"));
    }
    assert_eq!(dead_links(&root(), "[a](nowhere.md#part) [b](#part) [c](https://x.example)"), ["a link leads nowhere: nowhere.md"]);
}
