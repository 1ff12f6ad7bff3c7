//! One line of the table of proof, added by whatever check has its figures.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// The variable that names the file to which the rows of one run are added.
pub const PROOF_TABLE: &str = "CLAVIGER_PROOF_TABLE";

/// Adds `check`, how often it ran, how often it passed and its worst figure (with its unit) to the file that
/// `CLAVIGER_PROOF_TABLE` names; without one, it does nothing.
///
/// The line is one write in append mode, so that tests of several processes share a file.
///
/// # Panics
/// When the file cannot be written: a row that is missing must not pass for a check that did not run.
pub fn proof_row(check: &str, runs: u64, passed: u64, worst: &str) {
    #[expect(clippy::disallowed_methods, reason = "the rows of a run are asked for by its environment, in this place only")]
    let Some(path) = std::env::var_os(PROOF_TABLE) else { return };
    proof_row_to(path.as_ref(), check, (runs, passed), worst);
}

/// As [`proof_row`], to a file that the caller names; of the pair, the first is how often it ran and the second how often it passed.
///
/// # Panics
/// As [`proof_row`].
pub fn proof_row_to(path: &Path, check: &str, (runs, passed): (u64, u64), worst: &str) {
    let line = row_line(check, runs, passed, worst);
    let written = OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("the table of proof {}: {error}", path.display()));
}

/// The line without its file; tabs and line ends in a text become spaces.
fn row_line(check: &str, runs: u64, passed: u64, worst: &str) -> String {
    let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    format!("{}\t{runs}\t{passed}\t{}\n", plain(check), plain(worst))
}

#[cfg(test)]
mod tests {
    use super::row_line;

    #[test]
    fn a_row_is_one_line_of_four_fields_whatever_its_texts_hold() {
        assert_eq!(row_line("kills", 60, 60, "0 lost"), "kills\t60\t60\t0 lost\n");
        assert_eq!(row_line("a\tb\nc", 1, 0, "x\ry"), "a b c\t1\t0\tx y\n");
    }
}
