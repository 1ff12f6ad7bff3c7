//! The corpus of token answers: each is what its table says, and no change of its bytes makes a token out of what has none.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails in a test may panic")]

use claviger_domain::profile::{RefreshRule, Rotation, TokenCarry, TokenEncoding, TokenNames};
use claviger_domain::time::Timestamp;
use claviger_oauth::{Doubt, Outcome, RawParts, Refusal, read_answer};
use claviger_testkit::proof_row;
use claviger_testkit::token_answers::{CorpusRule, TokenAnswerCase, token_answers};
use std::collections::BTreeMap;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const VARIANTS: u64 = 10_000;
const ROTATIONS: [Rotation; 3] = [Rotation::Strict, Rotation::Grace { window: Duration::from_mins(1) }, Rotation::NonRotating];

/// The lists of a catalogue entry that names none.
fn rule(which: CorpusRule, rotation: Rotation) -> RefreshRule {
    let list = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
    RefreshRule {
        url: "https://auth.example/token".parse().unwrap(),
        client_id: "client-1".to_owned(),
        client_secret: None,
        encoding: TokenEncoding::Form,
        carry: TokenCarry::Parameter,
        names: TokenNames::default(),
        headers: Vec::new(),
        params: Vec::new(),
        rotation,
        timeout: Duration::from_secs(30),
        dead_codes: list(&[
            "invalid_grant",
            "invalid_token",
            "unauthorized_client",
            "refresh_token_expired",
            "refresh_token_reused",
            "refresh_token_invalidated",
        ]),
        not_consumed_codes: list(&["invalid_request", "invalid_client", "unsupported_grant_type"]),
        dead_statuses: if which == CorpusRule::Final401 { vec![401] } else { Vec::new() },
    }
}

/// The class of an outcome as the table writes it.
fn class(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Token(token) if token.refresh.is_some() => "token rotated".to_owned(),
        Outcome::Token(_) => "token kept".to_owned(),
        Outcome::Dead { code } => format!("dead {code}"),
        Outcome::Transient { retry_at, why } => {
            let why = match why {
                Refusal::NotConsumed { code } => code,
                Refusal::TooManyRequests => "too_many_requests",
                Refusal::Unavailable => "unavailable",
            };
            let after = retry_at.map_or(String::new(), |at| format!(" {}", at.until(NOW).as_secs()));
            format!("transient {why}{after}")
        }
        Outcome::Ambiguous { why } => {
            let why = match why {
                Doubt::Incomplete => "incomplete",
                Doubt::ErrorInSuccess => "error_in_success",
                Doubt::Html { .. } => "html",
                Doubt::UnknownError { .. } => "unknown_error",
                Doubt::UnexpectedStatus { .. } => "unexpected_status",
            };
            format!("ambiguous {why}")
        }
    }
}

fn parts<'a>(case: &'a TokenAnswerCase, body: &'a [u8]) -> RawParts<'a> {
    RawParts {
        status: case.status().unwrap(),
        date: case.header("date"),
        retry_after: case.header("retry-after"),
        content_type: case.header("content-type"),
        body,
    }
}

#[test]
fn every_answer_of_the_corpus_is_what_its_table_says() {
    let (mut runs, mut faults) = (0, Vec::new());
    for case in token_answers() {
        let Some(expected) = &case.read else { continue };
        for rotation in ROTATIONS {
            let outcome = read_answer(&rule(case.rule, rotation), &parts(&case, case.body()), NOW);
            runs += 1;
            if class(&outcome) != *expected {
                faults.push(format!("{}: {} instead of {expected}", case.name, class(&outcome)));
            }
            assert!(!format!("{outcome:?}").contains("canary"), "{}: {outcome:?}", case.name);
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    proof_row("bad answers: the reader, by every profile", runs, runs, "0 wrong classes");
}

#[test]
fn the_corpus_has_every_class() {
    let mut counted = BTreeMap::<String, u32>::new();
    for case in token_answers() {
        *counted.entry(case.wire.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    let classes: Vec<&str> = counted.keys().map(String::as_str).collect();
    assert_eq!(classes, ["ambiguous", "dead", "no_answer", "token", "transient"]);
    assert!(counted.values().sum::<u32>() >= 200, "{counted:?}");
}

#[test]
fn no_change_of_bytes_makes_a_token_or_a_death_out_of_what_says_none() {
    let corpus: Vec<_> = token_answers().into_iter().filter(|case| case.status().is_some()).collect();
    let mut chance = Chance(0x5eed);
    let mut seen = BTreeMap::<String, u64>::new();
    for variant in 0..VARIANTS {
        let case = &corpus[chance.below(corpus.len())];
        let other = &corpus[chance.below(corpus.len())];
        let body = chance.mutation(case.body(), other.body());
        let status = if chance.below(4) == 0 { other.status() } else { case.status() };
        let raw = RawParts { status: status.unwrap(), ..parts(case, &body) };
        let read = |rotation| read_answer(&rule(case.rule, rotation), &raw, NOW);
        let outcome = read(Rotation::Strict);
        for again in ROTATIONS.map(read) {
            assert_eq!(class(&again), class(&outcome), "variant {variant} of {}: the class is not the bytes'", case.name);
        }
        assert!(is_justified(&outcome, &raw), "variant {variant} of {}: {outcome:?}", case.name);
        assert!(!format!("{outcome:?}").contains("canary"), "variant {variant} of {}", case.name);
        *seen.entry(class(&outcome).split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(seen.len(), 4, "the variants reach every class: {seen:?}");
    proof_row("bad answers: the reader, changed bytes", VARIANTS, VARIANTS, "0 tokens or deaths from nothing");
}

/// Whether the bytes say what was read out of them; a second opinion that shares nothing with the reader.
fn is_justified(outcome: &Outcome, raw: &RawParts<'_>) -> bool {
    let holds = |text: &str| {
        let bytes = text.as_bytes();
        raw.body.contains(&b'\\') || raw.body.windows(bytes.len()).any(|window| window.eq_ignore_ascii_case(bytes))
    };
    match outcome {
        Outcome::Token(token) => {
            let text = raw.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw.body);
            let named = match serde_json::from_slice::<serde_json::Value>(text) {
                Ok(value) => value["access_token"] == token.access.expose() && (value["error"].is_null() || value["error"] == ""),
                // What another parser refuses, such as deep nesting beside the token.
                Err(_) => holds("access_token") && holds(token.access.expose()),
            };
            let refresh = token.refresh.as_ref().is_none_or(|refresh| holds(refresh.expose()) && !refresh.expose().trim().is_empty());
            named && refresh && matches!(raw.status, 200..=299)
        }
        Outcome::Dead { code } => matches!(raw.status, 400 | 401 | 403) && (holds(code) || code == "status_401"),
        Outcome::Transient { retry_at, .. } => retry_at.is_none_or(|at| (5..=900).contains(&at.until(NOW).as_secs())),
        Outcome::Ambiguous { .. } => true,
    }
}

/// Chance by a seed (splitmix64), so that a variant's number finds it again.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// Cuts, flips, splices, repeats or plants, one to four times.
    fn mutation(&mut self, body: &[u8], other: &[u8]) -> Vec<u8> {
        const WORDS: [&str; 10] = [
            "\"access_token\":\"canary-planted\"",
            "\"refresh_token\":\"\"",
            "\"error\":null",
            "\"error\":\"invalid_grant\"",
            "{",
            "}",
            "\u{feff}",
            ",",
            "\\u0000",
            "<",
        ];
        let mut bytes = body.to_vec();
        for _ in 0..=self.below(4) {
            let (at, end) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
            let (from, to) = (at.min(end), at.max(end));
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1 << self.below(8);
                }
                2 => drop(bytes.splice(from..to, other[self.below(other.len() + 1)..].iter().copied())),
                3 => drop(bytes.splice(at..at, bytes[from..to].to_vec())),
                4 => drop(bytes.drain(from..to)),
                _ => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].bytes())),
            }
            bytes.truncate(64 * 1024);
        }
        bytes
    }
}
