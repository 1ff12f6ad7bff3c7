//! The only place that prints: data to stdout, everything else to stderr.

use crate::error::CliError;
use claviger_admin::ErrorBody;
use claviger_domain::identity::steers;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use zeroize::Zeroizing;

/// How this run prints.
///
/// With `--json`, stdout carries exactly one JSON document per command (or one per line for commands that report events),
/// and a failure is such a document too: `{"error":{"code","message","hint"}}` on stdout, so that a program reads one
/// stream and the exit code tells the two apart.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// For people, or for programs.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether stdout carries JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints data: with `--json` the value, else what `human` makes of it. A reader that went away is no error.
    pub fn data(self, data: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), CliError> {
        let text = if self.json { to_json(serde_json::to_string_pretty(data))? } else { Zeroizing::new(human()) };
        print(&text)
    }

    /// Prints one event of several as one line: with `--json` the value, else what `human` makes of it.
    pub fn event(self, data: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), CliError> {
        let text = if self.json { to_json(serde_json::to_string(data))? } else { Zeroizing::new(human()) };
        print(&text)
    }

    /// Prints raw bytes that are the data themselves, for instance a log. Breaks where the reader went away: who prints
    /// without an end must stop then.
    #[expect(clippy::unused_self, reason = "whoever prints holds an Output")]
    pub fn raw(self, bytes: &[u8]) -> Result<ControlFlow<()>, CliError> {
        let mut stdout = std::io::stdout().lock();
        let result = stdout.write_all(bytes).and_then(|()| stdout.flush());
        let is_gone = matches!(&result, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        printed(result)?;
        Ok(if is_gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Says something to a person, on stderr.
    #[expect(clippy::unused_self, reason = "whoever prints holds an Output")]
    pub fn note(self, text: impl AsRef<str>) {
        whisper(text.as_ref());
    }

    /// Says why a command failed and what to type next.
    pub fn error(self, error: &CliError) {
        if self.json {
            let body = ErrorBody { error: error.0.clone() };
            if serde_json::to_string_pretty(&body).is_ok_and(|text| write_out(&text).is_ok()) {
                return;
            }
        }
        whisper(&format!("error: {}", printable(&error.0.message)));
        if let Some(hint) = &error.0.hint {
            whisper(&format!("hint: {}", printable(hint)));
        }
    }
}

fn to_json(text: serde_json::Result<String>) -> Result<Zeroizing<String>, CliError> {
    text.map(Zeroizing::new).map_err(|error| CliError::caused(&error))
}

fn print(text: &str) -> Result<(), CliError> {
    printed(write_out(text))
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    write!(stdout, "{text}{newline}")?;
    stdout.flush()
}

/// A reader that went away has what it wanted.
fn printed(result: std::io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::failed(format!("stdout cannot be written: {error}"))),
        _ => Ok(()),
    }
}

fn whisper(text: &str) {
    // There is nowhere left to say that stderr failed.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Text from elsewhere without letters that move the cursor or turn the direction of the line. Line breaks stay.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if steers(letter) && letter != '\n' { '\u{fffd}' } else { letter }).collect()
}

/// A simple table: left-aligned columns, two spaces between them.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With its headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row; cells without text show as `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let tidy = |cell: String| if cell.is_empty() { "-".to_owned() } else { printable(&cell).replace('\n', " ") };
        self.rows.push(cells.into_iter().map(tidy).collect());
    }

    /// The table as text, every line ended.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ").expect("writing to a String never fails");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_its_columns_and_shows_absent_cells() {
        let mut table = Table::new(&["ID", "PROVIDER", "LABEL"]);
        table.row(["1".to_owned(), "anthropic".to_owned(), String::new()]);
        table.row(["23".to_owned(), "x".to_owned(), "a\u{1b}[31mb\nc".to_owned()]);
        assert_eq!(table.render(), "ID  PROVIDER   LABEL\n1   anthropic  -\n23  x          a\u{fffd}[31mb c\n");
    }
}
