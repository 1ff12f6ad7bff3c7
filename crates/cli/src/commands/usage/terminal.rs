//! How wide the terminal is, and whether it shows colours.

use crate::env::Env;
use std::io::IsTerminal;

/// The width where nobody knows: that of a file, or of a pipe.
const WIDTH_DEFAULT: usize = 80;
/// Narrower than this nothing can be drawn; lines are broken by the terminal then.
const WIDTH_MIN: usize = 32;
/// Wider lines are hard to follow with the eye.
const WIDTH_MAX: usize = 110;

/// What text is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Columns.
    pub(super) width: usize,
    colours: Colours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    Shown,
    Plain,
}

/// A colour says again what a word says too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
    Faint,
    Strong,
}

impl Terminal {
    /// What stdout is. Colours only on a terminal, and not with `NO_COLOR` (no-color.org) or `TERM=dumb`.
    pub(super) fn of(env: &Env) -> Self {
        let stdout = std::io::stdout();
        let is_plain = env.lookup("NO_COLOR").is_some() || env.lookup("TERM").as_deref() == Some("dumb");
        if !stdout.is_terminal() {
            return Self::plain(WIDTH_DEFAULT);
        }
        let told = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        let told = told.or_else(|| env.lookup("COLUMNS")?.parse().ok());
        let width = told.unwrap_or(WIDTH_DEFAULT).clamp(WIDTH_MIN, WIDTH_MAX);
        Self { width, colours: if is_plain { Colours::Plain } else { Colours::Shown } }
    }

    /// Without colours.
    pub(super) const fn plain(width: usize) -> Self {
        Self { width, colours: Colours::Plain }
    }

    /// With colours, for tests.
    #[cfg(test)]
    pub(super) const fn coloured(width: usize) -> Self {
        Self { width, colours: Colours::Shown }
    }

    /// Text in a tone, where the terminal shows it. The text must be free of control characters.
    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.colours == Colours::Shown && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
