//! Files of other tools that Claviger follows: read on every change, never written, their logins never refreshed here.

use super::json::JsonFault;
use super::{claude_code, codex};
use claviger_domain::profile::IdentityRule;
use claviger_domain::secret::AccessToken;
use claviger_domain::time::Timestamp;
use std::path::Path;

/// The format of a file that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FollowFormat {
    /// `.credentials.json` of Claude Code.
    ClaudeCode,
    /// `auth.json` of Codex.
    Codex,
}

impl FollowFormat {
    const ALL: [Self; 2] = [Self::ClaudeCode, Self::Codex];

    /// The name of the tool, as `import` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
        }
    }

    /// Reads what `as_str` wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// The provider whose login the file holds.
    pub const fn provider(self) -> &'static str {
        match self {
            Self::ClaudeCode => claude_code::PROVIDER,
            Self::Codex => codex::PROVIDER,
        }
    }

    /// The name that the tool gives the file.
    const fn file_name(self) -> &'static str {
        match self {
            Self::ClaudeCode => ".credentials.json",
            Self::Codex => "auth.json",
        }
    }
}

/// What a followed file holds now.
#[derive(Debug)]
pub struct FollowedToken {
    /// The access token.
    pub access: AccessToken,
    /// Whether the tool can refresh it by itself.
    pub refresh_present: bool,
    /// When the access token ends, where that is known.
    pub expires_at: Option<Timestamp>,
}

/// Why a followed file gives no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowFault {
    /// The tool is logged out.
    #[error("the tool is logged out")]
    LoggedOut,
    /// The file is not what the tool writes; it may be half written, so another look soon helps.
    #[error("the file is not what the tool writes: {0}")]
    Malformed(#[from] JsonFault),
    /// The token holds characters that a header cannot carry.
    #[error("the token holds characters that a header cannot carry")]
    NotSendable,
}

/// Reads a followed file.
pub fn read_followed(format: FollowFormat, text: &[u8]) -> Result<FollowedToken, FollowFault> {
    match format {
        FollowFormat::ClaudeCode => claude_code::read(text).map(|(token, _)| token),
        FollowFormat::Codex => codex::read(text, &IdentityRule::default()).map(|(token, _)| token),
    }
}

/// The format of a stored account's followed file: by the provider, else by the file's name.
pub fn follow_format_for(provider: &str, path: &Path) -> Option<FollowFormat> {
    let by_provider = FollowFormat::ALL.into_iter().find(|format| format.provider() == provider);
    by_provider.or_else(|| FollowFormat::ALL.into_iter().find(|format| path.file_name().is_some_and(|name| name == format.file_name())))
}
