//! What came of the checks: rows, and what failed with the words that repeat it.

use crate::args::Args;
use claviger_testkit::{proof_row, proof_row_to};
use std::process::ExitCode;

/// Failures of a row that are shown at the end: the first ones tell the most.
const FAILURES_SHOWN: usize = 10;

/// One row.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// What was checked.
    pub(crate) check: String,
    /// How often.
    pub(crate) runs: u64,
    /// How often it held.
    pub(crate) passed: u64,
    /// The worst figure, with its unit.
    pub(crate) worst: String,
    /// What did not hold.
    pub(crate) failures: Vec<String>,
}

impl Row {
    pub(crate) fn new(check: impl Into<String>) -> Self {
        Self { check: check.into(), ..Self::default() }
    }

    /// Counts one run.
    pub(crate) fn count(&mut self, run: Result<(), String>) {
        self.runs += 1;
        match run {
            Ok(()) => self.passed += 1,
            Err(why) => {
                eprintln!("  FAILED {}: {why}", self.check);
                self.failures.push(why);
            }
        }
    }

    /// Adds the runs of another part of the same check.
    pub(crate) fn take(&mut self, part: Row) {
        self.runs += part.runs;
        self.passed += part.passed;
        self.failures.extend(part.failures);
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Prints the rows, adds them to the files that want them, and tells whether all held.
    pub(crate) fn finish(&self, args: &Args) -> ExitCode {
        let width = self.rows.iter().map(|row| row.check.len()).max().unwrap_or(0).max("check".len());
        println!("{:width$}  {:>7}  {:>7}  worst", "check", "runs", "passed");
        for row in &self.rows {
            println!("{:width$}  {:>7}  {:>7}  {}", row.check, row.runs, row.passed, row.worst);
            match &args.table {
                Some(path) => proof_row_to(path, &row.check, (row.runs, row.passed), &row.worst),
                None => proof_row(&row.check, row.runs, row.passed, &row.worst),
            }
        }
        for row in &self.rows {
            for failure in row.failures.iter().take(FAILURES_SHOWN) {
                eprintln!("failed: {failure}");
            }
            let more = row.failures.len().saturating_sub(FAILURES_SHOWN);
            if more > 0 {
                eprintln!("failed: {}: {more} more", row.check);
            }
        }
        if self.holds(args.site.is_empty()) {
            ExitCode::SUCCESS
        } else {
            eprintln!("repeat with --seed {}", args.seed);
            ExitCode::FAILURE
        }
    }

    /// Whether every row held. One that never ran shows nothing; only where the places were chosen may that be, and not for all.
    fn holds(&self, everywhere: bool) -> bool {
        let idle = self.rows.iter().filter(|row| row.runs == 0);
        if everywhere {
            idle.clone().for_each(|row| eprintln!("failed: {}: it never ran", row.check));
        }
        let ran = if everywhere { idle.count() == 0 && !self.rows.is_empty() } else { idle.count() < self.rows.len() };
        if !ran {
            eprintln!("failed: no check ran, or not each of them");
        }
        ran && self.rows.iter().all(|row| row.passed == row.runs && row.failures.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Table};

    fn row(runs: u64, passed: u64) -> Row {
        Row { runs, passed, ..Row::new("a check") }
    }

    #[test]
    fn a_table_holds_only_if_every_row_ran_and_passed() {
        let holds = |rows: Vec<Row>| Table { rows }.holds(true);
        assert!(holds(vec![row(2, 2), row(1, 1)]));
        assert!(!holds(vec![row(2, 2), row(1, 0)]));
        assert!(!holds(vec![row(2, 2), row(0, 0)]));
        assert!(!holds(vec![]));
        let failed = Row { failures: vec!["why".to_owned()], ..row(1, 1) };
        assert!(!holds(vec![failed]));
    }

    #[test]
    fn where_places_are_chosen_some_rows_may_have_none() {
        let holds = |rows: Vec<Row>| Table { rows }.holds(false);
        assert!(holds(vec![row(2, 2), row(0, 0)]));
        assert!(!holds(vec![row(0, 0)]));
        assert!(!holds(vec![]));
    }
}
