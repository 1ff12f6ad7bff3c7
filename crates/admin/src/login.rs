//! A login as the control plane carries it: what a person's side asks, and what it is told to do next.
//!
//! All secrets of a flow stay with the control plane: `state`, the PKCE verifier, device codes and tokens. What crosses is a URL
//! or a code to show, and what the person's browser or keyboard brings back.

use crate::{AccountAdded, Exposed, IdentityView, time_text};
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Asks to begin a login.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginAsk {
    /// The provider's id or alias.
    pub provider: String,
    /// Which way.
    #[serde(default)]
    pub way: LoginWayWord,
    /// The account that is to be renewed; `None` stores whoever logs in.
    #[serde(default)]
    pub account: Option<i64>,
    /// A name given by a person.
    #[serde(default)]
    pub label: Option<String>,
    /// The port on which the person's side listens for the browser; `None` where it cannot.
    #[serde(default)]
    pub port: Option<u16>,
    /// What the provider's login takes beside its own pages, by name, for instance `project`. A name that it does not know is
    /// refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Who asks, for the audit trail.
    #[serde(default)]
    pub actor: String,
}

/// Which way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginWayWord {
    /// The provider's preferred one that can be gone: the browser comes back only where somebody listens.
    #[default]
    Auto,
    /// The browser comes back to a port of the person's machine, or the address that it ended at is pasted.
    Loopback,
    /// A code is typed in on any device.
    Device,
    /// The provider shows what is to be pasted.
    Paste,
    /// The provider's own flow.
    Vendor,
    /// A key that a person has.
    Key,
}

impl LoginWayWord {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Loopback => "loopback",
            Self::Device => "device",
            Self::Paste => "paste",
            Self::Vendor => "vendor",
            Self::Key => "key",
        }
    }
}

/// Goes on with a login.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginContinue {
    /// The login, as [`LoginStep`] named it.
    pub login: String,
    /// What has happened since.
    pub input: LoginInput,
}

/// What has happened on the person's side.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LoginInput {
    /// The browser came back.
    Callback {
        /// The query of the address that it asked for, without `?`.
        query: Exposed,
    },
    /// Somebody pasted the address that the browser ended at, or a code, or typed a key.
    Pasted {
        /// The text.
        text: Exposed,
    },
    /// Nothing: whether the provider has an answer yet.
    Poll,
    /// The person agrees that another identity takes the account's place.
    ConfirmIdentity,
}

/// What a person's side does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum LoginStep {
    /// Open this in a browser, then bring what comes back.
    OpenUrl {
        /// The login.
        login: String,
        /// The page.
        url: String,
        /// What comes back.
        #[serde(flatten)]
        expects: LoginExpects,
        /// Until when the login is waited for.
        #[serde(with = "time_text")]
        ends_at: Timestamp,
    },
    /// Show this address, and the code if there is one, then poll. Comes again where a code has ended and there is another.
    ShowCode {
        /// The login.
        login: String,
        /// The page.
        url: String,
        /// The same page with the code filled in, where the provider has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url_complete: Option<String>,
        /// What is typed there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_code: Option<String>,
        /// How long to wait before the next poll.
        poll_after_ms: u64,
        /// Until when the code is good.
        #[serde(with = "time_text")]
        ends_at: Timestamp,
    },
    /// Bring a key.
    EnterKey {
        /// The login.
        login: String,
        /// The page that gives it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<String>,
    },
    /// Nothing yet: poll again.
    Waiting {
        /// The login.
        login: String,
        /// After this long.
        poll_after_ms: u64,
    },
    /// What came was not this login's answer; the login goes on waiting for it.
    NotTaken {
        /// The login.
        login: String,
        /// Why, for people.
        why: String,
    },
    /// Somebody else has logged in than the account was.
    ConfirmIdentity {
        /// The login.
        login: String,
        /// Who the account is.
        was: Box<IdentityView>,
        /// Who has logged in.
        is: Box<IdentityView>,
    },
    /// It is done: on disk, and in service.
    Stored {
        /// The account.
        #[serde(flatten)]
        added: Box<AccountAdded>,
        /// What could not be made sure of.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
}

/// What comes back from a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "expects", rename_all = "snake_case")]
pub enum LoginExpects {
    /// The browser, at this address of the person's machine. Where it cannot, the address may be pasted.
    Callback {
        /// The whole redirect URI.
        redirect: String,
    },
    /// A code or an address that the person pastes.
    Paste,
}

impl LoginStep {
    /// The login, while it is not over.
    pub fn login(&self) -> Option<&str> {
        match self {
            Self::OpenUrl { login, .. }
            | Self::ShowCode { login, .. }
            | Self::EnterKey { login, .. }
            | Self::Waiting { login, .. }
            | Self::NotTaken { login, .. }
            | Self::ConfirmIdentity { login, .. } => Some(login),
            Self::Stored { .. } => None,
        }
    }
}
