//! History as sparklines: a line per account and limit, time from left to right.

use super::super::when;
use super::terminal::{Terminal, Tone};
use crate::output::printable;
use claviger_admin::{AccountUsageView, UsageSeries};
use claviger_domain::time::{Timestamp, millis};
use std::fmt::Write as _;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// What stands where nobody told anything.
const GAP: char = ' ';
/// Columns of a sparkline at most.
const WIDTH_MAX: usize = 72;
/// Columns of one at least.
const WIDTH_MIN: usize = 12;
/// Columns of ` 100 %, at most 100 %`.
const TAIL: usize = 22;

/// The history of a time, in lines that are each ended.
pub(super) fn history(
    series: &[UsageSeries],
    accounts: &[AccountUsageView],
    (since, until): (Timestamp, Timestamp),
    terminal: Terminal,
) -> String {
    let title = format!("the last {}, left to right", when::words(until.until(since)));
    let mut text = format!("{}\n", terminal.paint(&title, Tone::Strong));
    if series.is_empty() {
        text.push_str("  nothing was noted in this time\n");
        return text;
    }
    let names: Vec<String> = series.iter().map(|series| name(series, accounts)).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let fits = 2 + name_width + 2 + WIDTH_MIN + TAIL <= terminal.width;
    let room = if fits { terminal.width - name_width - TAIL - 4 } else { terminal.width.saturating_sub(TAIL + 4) };
    let width = room.clamp(WIDTH_MIN, WIDTH_MAX);
    for (series, name) in series.iter().zip(&names) {
        let columns = columns(series, (since, until), width);
        let line: String = columns.iter().map(|used| used.map_or(GAP, level)).collect();
        let last = series.points.iter().rev().find_map(|point| point.used);
        let most = columns.iter().flatten().copied().fold(f64::NAN, f64::max);
        let tail = last.map_or_else(String::new, |last| format!("{:>4.0} %, at most {:.0} %", last * 100.0, most * 100.0));
        let line = if fits { format!("  {name:name_width$}  {line}  {tail}") } else { format!("  {name}\n    {line} {tail}") };
        writeln!(text, "{}", line.trim_end()).expect("writing to a String never fails");
    }
    text
}

/// `anthropic me@x.example 5h`.
fn name(series: &UsageSeries, accounts: &[AccountUsageView]) -> String {
    let who = super::tables::who(series.account, accounts);
    printable(&format!("{} {who} {}", series.provider, series.label)).replace('\n', " ")
}

/// The highest use within each column; between two that were told it stays as it was, as long as its window lasts.
fn columns(series: &UsageSeries, (since, until): (Timestamp, Timestamp), width: usize) -> Vec<Option<f64>> {
    let span = millis(until.until(since)).max(1);
    let mut columns = vec![None; width];
    for (turn, point) in series.points.iter().enumerate() {
        let place = |at: Timestamp| {
            let from_start = at.0.saturating_sub(since.0).clamp(0, span - 1);
            usize::try_from(i128::from(from_start) * width as i128 / i128::from(span)).unwrap_or(0)
        };
        let next_at = series.points.get(turn + 1).map_or(until, |next| next.at);
        let holds_until = point.resets_at.filter(|at| *at > point.at).map_or(point.at, |at| at.min(next_at));
        let Some(used) = point.used else { continue };
        for column in columns.iter_mut().take(place(holds_until) + 1).skip(place(point.at)) {
            *column = Some(column.map_or(used, |known: f64| known.max(used)));
        }
    }
    columns
}

fn level(used: f64) -> char {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 7")]
    let level = (used.clamp(0.0, 1.0) * (LEVELS.len() - 1) as f64).round() as usize;
    LEVELS.get(level).copied().unwrap_or(GAP)
}
