//! Reads accounts from the files of other tools. Nothing is written: bytes or rows in, drafts of accounts out.

mod account_json;
mod claims;
mod claude_code;
mod cliproxyapi;
mod codex;
mod copilot;
mod credential;
mod environment;
mod file;
mod follow;
mod gemini_cli;
mod json;
mod keychain;
mod kimi_cli;
mod litellm;
mod login;
mod omp;
mod opencode;
mod options;
mod owner;
mod retire;
mod source;
mod yaml;

use claviger_domain::block::Block;
use claviger_domain::credential::Standing;
use claviger_domain::id::ProviderId;
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::secret::{AccessToken, ApiKey};
use claviger_domain::time::Timestamp;
use claviger_oauth::RefreshToken;
use std::fmt::Display;
use std::path::PathBuf;

pub use account_json::parse_account_json;
pub use claude_code::parse_claude_code;
pub use cliproxyapi::{parse_cliproxyapi_config, parse_cliproxyapi_login};
pub use codex::parse_codex;
pub use copilot::parse_copilot;
pub use credential::CredentialFault;
pub use environment::parse_env;
pub use file::{followed_owner, read_login_file};
pub use follow::{FollowFault, FollowFormat, FollowedLogin, read_followed};
pub use gemini_cli::{GeminiFiles, parse_gemini_cli};
pub use json::TextFault;
pub use keychain::keychain_item;
pub use kimi_cli::{parse_kimi_config, parse_kimi_login};
pub use litellm::parse_litellm;
pub use omp::read_omp;
pub use opencode::parse_opencode;
pub use retire::retirement;
pub use source::{ImportContext, ImportSource, SourceKind, source, sources};

/// Most bytes of another tool's file of logins or keys; such files have a few kilobytes.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// What a source holds.
#[derive(Debug, Default)]
pub struct Import {
    /// The accounts that can be stored, in the order of the source.
    pub accounts: Vec<ImportedAccount>,
    /// What cannot, and why.
    pub skipped: Vec<Skipped>,
    /// What is to be known of its files, in words without a secret.
    pub notes: Vec<String>,
}

impl Import {
    /// Adds what another part of the source holds.
    fn append(&mut self, other: Self) {
        let Self { accounts, skipped, notes } = other;
        self.accounts.extend(accounts);
        self.skipped.extend(skipped);
        self.notes.extend(notes);
    }

    /// Adds the draft of a key under its name, or why there is none.
    fn push_key(&mut self, row: String, found: Result<ImportedAccount, String>) {
        match found {
            Ok(account) => self.accounts.push(ImportedAccount { row, ..account }),
            Err(why) => self.skipped.push(Skipped { row, why }),
        }
    }
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
    /// Higher is used first; 0 where the source says nothing.
    pub priority: i32,
    /// What else the source sets for it.
    pub options: AccountOptions,
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

    fn no_provider(row: &str, provider: &str) -> Self {
        Self::new(row, &format_args!("the catalogue has no provider {provider}"))
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
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        limit: u64,
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
        fault: TextFault,
    },
    /// The tool has no place of its own for the file.
    #[error("where {tool} keeps its configuration is not known: give its path")]
    NoPlace {
        /// The tool.
        tool: &'static str,
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
        priority: 0,
        options: AccountOptions::default(),
        follow: None,
        notes: Vec::new(),
    }
}
