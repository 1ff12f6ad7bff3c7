//! What is known of a credential without its secret.

use crate::time::Timestamp;
use std::path::PathBuf;

/// The kind of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// An OAuth login: access token, refresh token, expiry.
    OAuth,
    /// A plain key that never expires by itself.
    ApiKey,
}

impl CredentialKind {
    /// The word in files and output: `oauth` or `api_key`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::ApiKey => "api_key",
        }
    }
}

/// How a credential came here; the cascade orders by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `login`, or an account added by hand.
    Login,
    /// Read from another tool's store, or copied from the environment.
    Imported,
    /// Given to this process when it was started. Never in the vault.
    Runtime,
    /// Named by the configuration. Never in the vault.
    Config,
    /// Found in the environment of this process. Never in the vault.
    Environment,
}

impl Source {
    /// Those that the vault keeps.
    pub const STORED: [Self; 2] = [Self::Login, Self::Imported];

    /// The word in files and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Imported => "imported",
            Self::Runtime => "runtime",
            Self::Config => "config",
            Self::Environment => "environment",
        }
    }
}

/// Who refreshes a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Custody {
    /// Claviger.
    Owned,
    /// Another tool: its file is read and never written, and its token is never refreshed here.
    Followed {
        /// The file that the tool keeps.
        path: PathBuf,
    },
}

/// Whether a grant can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantState {
    /// It serves.
    Live,
    /// It is dead, or its fate cannot be known: only a new login helps.
    NeedsLogin {
        /// Why, in words without a secret.
        cause: String,
        /// Since when.
        since: Timestamp,
    },
}

/// Whether an account may be picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// A person or an importer switched it off.
    Disabled {
        /// Why, in words without a secret.
        cause: String,
        /// Since when.
        since: Timestamp,
    },
}
