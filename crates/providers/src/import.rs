//! Reads accounts from the files of other tools. Nothing is written: bytes or rows in, drafts of accounts out.

mod account_json;
mod claims;
mod claude_code;
mod codex;
mod credential;
mod environment;
mod follow;
mod json;
mod omp;
mod source;

use claviger_domain::block::Block;
use claviger_domain::credential::Standing;
use claviger_domain::id::ProviderId;
use claviger_domain::identity::Identity;
use claviger_domain::secret::{AccessToken, ApiKey};
use claviger_domain::time::Timestamp;
use claviger_oauth::RefreshToken;
use std::fmt::Display;
use std::path::PathBuf;

pub use account_json::parse_account_json;
pub use claude_code::parse_claude_code;
pub use codex::parse_codex;
pub use credential::CredentialFault;
pub use environment::parse_env;
pub use follow::{FollowFault, FollowFormat, FollowedToken, follow_format_for, read_followed};
pub use json::JsonFault;
pub use omp::read_omp;
pub use source::{ImportContext, ImportSource, SourceKind, source, sources};

/// Most bytes of another tool's JSON file; such files have a few kilobytes.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// What a source holds.
#[derive(Debug, Default)]
pub struct Import {
    /// The accounts that can be stored, in the order of the source.
    pub accounts: Vec<ImportedAccount>,
    /// What cannot, and why.
    pub skipped: Vec<Skipped>,
}

/// The draft of an account. Nothing that tells two accounts apart is invented: an absent field is unknown.
#[derive(Debug)]
pub struct ImportedAccount {
    /// How the source names it, for people.
    pub row: String,
    /// The provider in the catalogue.
    pub provider: ProviderId,
    /// The secrets. Two accounts with the same refresh token share one grant.
    pub credential: ImportedCredential,
    /// Whose it is, as far as the source or its token says.
    pub identity: Identity,
    /// Whether the source had switched it off.
    pub standing: Standing,
    /// Blocks that have not ended.
    pub blocks: Vec<Block>,
    /// A name for people.
    pub label: Option<String>,
    /// The file to follow; with one, the refresh token is not taken over and stays with the other tool.
    pub follow: Option<PathBuf>,
    /// What was left out, in words without a secret.
    pub notes: Vec<String>,
}

/// The secrets of a draft.
#[derive(Debug)]
pub enum ImportedCredential {
    /// An OAuth login.
    OAuth {
        /// The access token.
        access: AccessToken,
        /// The refresh token, where there is one and it is ours to use.
        refresh: Option<RefreshToken>,
        /// When the access token ends, where that is known.
        expires_at: Option<Timestamp>,
    },
    /// An API key.
    ApiKey {
        /// The key.
        key: ApiKey,
    },
}

/// A part of a source that does not become an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// How the source names it.
    pub row: String,
    /// Why, in words without a secret.
    pub why: String,
}

impl Skipped {
    fn new(row: &str, why: &dyn Display) -> Self {
        Self { row: row.to_owned(), why: why.to_string() }
    }
}

/// A source that cannot be read as a whole. No text of the source is in the message.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not there.
    #[error("{path} is not there")]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than any that the tool writes.
    #[error("{path} is longer than {FILE_MAX_BYTES} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The database cannot be opened or read.
    #[error("{path} cannot be read as a database")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database has no table of credentials.
    #[error("{path} holds no credentials of this tool")]
    NotItsDatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what the tool writes.
    #[error("{path} is not what the tool writes: {fault}")]
    NotItsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        fault: JsonFault,
    },
    /// The folder of the tool is not known: no path was given and there is no home folder.
    #[error("no path was given and the home folder is not known")]
    NoHome,
}

/// The draft of an account that serves, with nothing but its credential.
fn draft(row: String, provider: ProviderId, credential: ImportedCredential, identity: Identity) -> ImportedAccount {
    ImportedAccount {
        row,
        provider,
        credential,
        identity,
        standing: Standing::Active,
        blocks: Vec::new(),
        label: None,
        follow: None,
        notes: Vec::new(),
    }
}
