//! What a login says: one JSON document a line for programs, words on stderr for people.

use super::told;
use crate::commands::account::words;
use crate::error::CliError;
use crate::output::{Output, printable};
use claviger_admin::{AccountAdded, AdminError, IdentityView, time_text};
use claviger_domain::time::Timestamp;
use serde::Serialize;

/// Something that happened. The last one is `stored` or `error`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A page is to be opened.
    OpenUrl {
        /// The page.
        url: &'a str,
        /// `callback`, or `paste`.
        expects: &'static str,
        /// Where the browser comes back to.
        #[serde(skip_serializing_if = "Option::is_none")]
        redirect: Option<&'a str>,
        /// Until when it is waited for.
        #[serde(serialize_with = "time_text::serialize")]
        ends_at: Timestamp,
    },
    /// A code is to be typed on a page.
    Code {
        /// The page.
        url: &'a str,
        /// The page with the code filled in.
        #[serde(skip_serializing_if = "Option::is_none")]
        url_complete: Option<&'a str>,
        /// The code; absent where opening the page is all.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_code: Option<&'a str>,
        /// Until when it is good.
        #[serde(serialize_with = "time_text::serialize")]
        ends_at: Timestamp,
    },
    /// Nobody has logged in yet.
    Waiting {
        /// How long until the provider is asked again.
        poll_after_ms: u64,
    },
    /// What came was not this login's answer.
    NotTaken {
        /// Why.
        why: &'a str,
    },
    /// Somebody else has logged in than the account was.
    OtherIdentity {
        /// Who the account is.
        was: &'a IdentityView,
        /// Who has logged in.
        is: &'a IdentityView,
    },
    /// Something that is good to know.
    Warning {
        /// What.
        message: &'a str,
    },
    /// It is done.
    Stored {
        /// What was stored.
        #[serde(flatten)]
        added: &'a AccountAdded,
        /// What could not be made sure of.
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        warnings: &'a [String],
    },
    /// It failed.
    Error {
        /// Why.
        error: &'a AdminError,
    },
}

/// Says events.
#[derive(Debug, Clone, Copy)]
pub struct Saying {
    output: Output,
}

impl Saying {
    /// To this output.
    pub const fn new(output: Output) -> Self {
        Self { output }
    }

    /// Says one.
    pub fn tell(self, event: &Event<'_>) -> Result<(), CliError> {
        if self.output.is_json() {
            return self.output.event(event, String::new);
        }
        if let Event::Stored { added, warnings } = event {
            for warning in *warnings {
                self.output.note(format!("note: {}", printable(warning)));
            }
            return self.output.event(event, || told(added));
        }
        if let Some(text) = in_words(event) {
            self.output.note(text);
        }
        Ok(())
    }

    /// Says something to a person alone.
    pub fn whisper(self, text: &str) {
        if !self.output.is_json() {
            self.output.note(text);
        }
    }
}

fn in_words(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::OpenUrl { url, .. } | Event::Code { url, user_code: None, .. } => {
            format!("open this page and log in:\n\n  {}\n", printable(url))
        }
        Event::Code { url, url_complete, user_code: Some(code), .. } => {
            let complete = url_complete.map(|url| format!("\nor open {}\n", printable(url))).unwrap_or_default();
            format!("open {}\nand type the code\n\n  {}\n{complete}", printable(url), printable(code))
        }
        Event::Waiting { .. } => "waiting for the login (Ctrl-C gives it up)".to_owned(),
        Event::NotTaken { why } => format!("not taken: {}", printable(why)),
        Event::OtherIdentity { was, is } => format!("the account is {}, and {} has logged in", name(was), name(is)),
        Event::Warning { message } => format!("note: {}", printable(message)),
        Event::Stored { .. } | Event::Error { .. } => return None,
    })
}

/// An identity for a sentence.
pub fn name(identity: &IdentityView) -> String {
    words::identity(identity).map_or_else(|| "somebody whom the provider does not name".to_owned(), |name| words::tidy(&name))
}
