//! The table and the figure of what came of it.

use crate::world::Outcome;
use std::fmt::Write;

/// A policy and what came of it, summed over all runs.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

impl Row {
    pub(crate) fn refused(&self) -> f64 {
        self.outcome.refused / self.outcome.asked * 100.0
    }

    pub(crate) fn wasted(&self) -> f64 {
        self.outcome.wasted / self.outcome.held * 100.0
    }

    pub(crate) fn switched(&self) -> f64 {
        if self.outcome.served > 0.0 { self.outcome.switched / self.outcome.served * 1000.0 } else { 0.0 }
    }
}

/// The rows as a table in Markdown; ratios are to the first row, which is the bound.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| policy | refused, % of what was asked | × bound | wasted, % of what windows held | × bound | warm caches left, of 1,000 requests |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let Some(bound) = rows.first() else { return text };
    for row in rows {
        let (refused, wasted) = (row.refused(), row.wasted());
        let ratio = |value: f64, least: f64| if least < 0.005 { "–".to_owned() } else { format!("{:.2}", value / least) };
        let (refused_ratio, wasted_ratio) = (ratio(refused, bound.refused()), ratio(wasted, bound.wasted()));
        let (name, switched) = (&row.name, row.switched());
        writeln!(text, "| {name} | {refused:.2} | {refused_ratio} | {wasted:.2} | {wasted_ratio} | {switched:.2} |")
            .expect("a string takes all text");
    }
    text
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 190.0;
const BAR: f64 = 15.0;
const PANEL_GAP: f64 = 34.0;

type Measure = fn(&Row) -> f64;

/// Three panels of bars, one for each measure.
pub(crate) fn figure(rows: &[Row], runs: u64) -> String {
    let panels: [(&str, Measure); 3] = [
        ("refused, % of what was asked", Row::refused),
        ("wasted at weekly resets, % of what the windows held", Row::wasted),
        ("requests that left a warm prompt cache, of 1,000", Row::switched),
    ];
    let panel_height = rows.len() as f64 * (BAR + 4.0) + PANEL_GAP;
    let height = panel_height * 3.0 + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Refusals, waste and switches of six policies over {} simulated weeks, and the bound</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        runs * 4
    );
    for (number, (title, measure)) in panels.iter().enumerate() {
        let top = 24.0 + number as f64 * panel_height;
        let most = rows.iter().map(measure).fold(0.0, f64::max);
        let scale = (WIDTH - LABELS - 70.0) / most;
        writeln!(svg, "<text x=\"10\" y=\"{top}\" font-weight=\"bold\">{title}</text>").expect("a string takes all text");
        for (line, row) in rows.iter().enumerate() {
            let (y, value) = (top + 8.0 + line as f64 * (BAR + 4.0), measure(row));
            let colour = match line {
                0 => "#9aa0a6",
                _ if line + 1 == rows.len() => "#1b7f5c",
                _ => "#8fb4d9",
            };
            let (name, base, width, after) = (&row.name, y + BAR - 3.0, value * scale, LABELS + value * scale + 6.0);
            let shown = if number == 2 && line == 0 { "none".to_owned() } else { format!("{value:.2}") };
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{base:.1}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                 <text x=\"{after:.1}\" y=\"{base:.1}\">{shown}</text>",
                LABELS - 8.0
            )
            .expect("a string takes all text");
        }
    }
    svg.push_str("</svg>\n");
    svg
}
