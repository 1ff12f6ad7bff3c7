//! One account: a headline, and a bar for each of its limits.

use super::super::when;
use super::terminal::{Terminal, Tone};
use crate::output::printable;
use claviger_admin::{AccountUsageView, AmountView, LimitView};
use claviger_domain::time::Timestamp;
use std::fmt::Write as _;
use std::time::Duration;

/// Columns of a bar, the widest that fits.
const BARS: [usize; 4] = [24, 16, 10, BAR_MIN];
/// Columns of the narrowest bar.
const BAR_MIN: usize = 6;
/// Columns of a limit's name at most.
const LABEL_MAX: usize = 22;
/// Columns of `100 %`.
const PERCENT: usize = 5;
/// From here on a bar is worth a look.
const LOOK_FROM: f64 = 0.75;

/// The lines of one account, each ended.
pub(super) fn account(account: &AccountUsageView, terminal: Terminal, now: Timestamp) -> String {
    let mut text = headline(account, terminal, now);
    let labels: Vec<String> = account.limits.iter().map(label).collect();
    let label_width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let ends: Vec<String> = account.limits.iter().map(|limit| end(limit, now)).collect();
    let end_width = ends.iter().map(|end| end.chars().count()).max().unwrap_or(0);
    let fixed = 2 + label_width + 2 + 1 + PERCENT;
    let widest = |rest: usize| BARS.into_iter().find(|bar| fixed + rest + bar <= terminal.width);
    // Where all of it is too wide for one line, what stands behind the bars has a line of its own.
    let (bar_width, apart) = widest(2 + end_width).map_or((widest(0), "\n    "), |bar| (Some(bar), "  "));
    for ((limit, label), end) in account.limits.iter().zip(&labels).zip(&ends) {
        let (bar, percent) = (bar(limit, bar_width.unwrap_or(BAR_MIN), terminal), percent(limit, terminal));
        let label = if bar_width.is_some() { format!("  {label:label_width$}  ") } else { format!("  {label}\n    ") };
        let apart = if end.is_empty() { "" } else { apart };
        writeln!(text, "{label}{bar} {percent}{apart}{end}").expect("writing to a String never fails");
    }
    if let Some(until) = account.blocked_until {
        let line = format!("  set aside for {}", when::words(until.until(now)));
        writeln!(text, "{}", terminal.paint(&line, Tone::Bad)).expect("writing to a String never fails");
    }
    let nothing = account.limits.is_empty().then(|| "nothing is known yet".to_owned());
    if let Some(note) = account.note.clone().or(nothing) {
        writeln!(text, "  {}", terminal.paint(&tidy(&note), Tone::Faint)).expect("writing to a String never fails");
    }
    text
}

/// `anthropic · me@x.example · max (account 3), told 2 min ago by headers`, in two lines where it is too long for one.
fn headline(account: &AccountUsageView, terminal: Terminal, now: Timestamp) -> String {
    let who = [Some(account.provider.clone()), account.name.clone(), account.plan.clone()];
    let who: Vec<String> = who.into_iter().flatten().map(|part| tidy(&part)).collect();
    let who = format!("{} (account {})", who.join(" · "), account.account);
    let told = account.observed_at.map(|at| {
        let by = account.source.as_deref().map(|source| if source == "endpoint" { ", asked" } else { ", from answers" });
        format!("{}{}", when::relative(at, now), by.unwrap_or_default())
    });
    let told = told.unwrap_or_default();
    let apart = if who.chars().count() + told.chars().count() + 2 <= terminal.width { "  " } else { "\n  " };
    let apart = if told.is_empty() { "" } else { apart };
    format!("{}{apart}{}\n", terminal.paint(&who, Tone::Strong), terminal.paint(&told, Tone::Faint))
}

fn label(limit: &LimitView) -> String {
    let label = tidy(&limit.label);
    if label.chars().count() <= LABEL_MAX {
        return label;
    }
    label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

/// `███████░░░`: what is used is filled, and every used bit shows.
fn bar(limit: &LimitView, width: usize, terminal: Terminal) -> String {
    let Some(used) = limit.used else { return terminal.paint(&"·".repeat(width), Tone::Faint) };
    let filled = filled(used, width);
    format!("{}{}", terminal.paint(&"█".repeat(filled), tone(limit)), terminal.paint(&"░".repeat(width - filled), Tone::Faint))
}

/// Cells of a bar that are filled. Only what is used up fills it whole, and only what is unused leaves it empty.
fn filled(used: f64, width: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the width of a bar")]
    let cells = (used.clamp(0.0, 1.0) * width as f64).round() as usize;
    match cells {
        0 if used > 0.0 => 1,
        all if all >= width && used < 1.0 => width - 1,
        some => some.min(width),
    }
}

fn percent(limit: &LimitView, terminal: Terminal) -> String {
    let text = limit.used.map_or_else(|| "?".to_owned(), |used| format!("{:.0} %", (used * 100.0).min(999.0)));
    terminal.paint(&format!("{text:>PERCENT$}"), tone(limit))
}

fn tone(limit: &LimitView) -> Tone {
    match limit.status.as_str() {
        "exhausted" => Tone::Bad,
        "warning" => Tone::Warning,
        "unknown" => Tone::Faint,
        _ if limit.used.is_some_and(|used| used >= LOOK_FROM) => Tone::Warning,
        _ => Tone::Good,
    }
}

/// What stands behind a bar: how it stands in a word where that is worth one, the amount, and the time to its reset.
fn end(limit: &LimitView, now: Timestamp) -> String {
    let word = match limit.status.as_str() {
        "exhausted" => Some("used up".to_owned()),
        "warning" => Some("nearly used up".to_owned()),
        _ => None,
    };
    let reset = limit.resets_at.map(|at| at.until(now)).filter(|left| *left > Duration::ZERO);
    let reset = reset.map(|left| format!("resets in {}", when::words(left)));
    [word, limit.amount.as_ref().and_then(amount), reset].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `3.50 of 20 usd`.
fn amount(amount: &AmountView) -> Option<String> {
    let unit = tidy(&amount.unit);
    match (amount.used, amount.limit, amount.remaining) {
        (Some(used), Some(limit), _) => Some(format!("{} of {} {unit}", number(used), number(limit))),
        (None, Some(limit), Some(remaining)) => Some(format!("{} of {} {unit} left", number(remaining), number(limit))),
        (_, None, Some(remaining)) => Some(format!("{} {unit} left", number(remaining))),
        (Some(used), None, None) => Some(format!("{} {unit} used", number(used))),
        _ => None,
    }
}

/// With two places where there is a fraction, and in short beyond a million.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        _ if value.fract().abs() < 0.005 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn tidy(text: &str) -> String {
    printable(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_when_all_is_used_and_empty_only_when_nothing_is() {
        for (used, cells) in [(0.0, 0), (0.001, 1), (0.71, 7), (0.999, 9), (1.0, 10), (1.7, 10), (f64::NAN, 0)] {
            assert_eq!(filled(used, 10), cells, "{used}");
        }
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        let of = |used, limit, remaining| amount(&AmountView { used, limit, remaining, unit: "usd".into() });
        assert_eq!(of(Some(3.5), Some(20.0), None).unwrap(), "3.50 of 20 usd");
        assert_eq!(of(None, Some(20.0), Some(4.0)).unwrap(), "4 of 20 usd left");
        assert_eq!(of(Some(1.0), None, Some(4.25)).unwrap(), "4.25 usd left");
        assert_eq!(of(Some(2_500_000.0), None, None).unwrap(), "2.5 M usd used");
        assert_eq!(of(None, None, None), None);
    }
}
