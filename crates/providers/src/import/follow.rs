//! Files of other tools that Claviger follows: read on every change, never written, their logins never refreshed here.

use super::json::{JsonObject, TextFault};
use super::login::Login;
use super::{claude_code, codex, gemini_cli, kimi_cli, opencode};
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::AccessToken;
use claviger_domain::time::Timestamp;
use claviger_oauth::RefreshToken;

/// The format of a file that is followed; each tool writes its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FollowFormat {
    /// `.credentials.json` of Claude Code.
    ClaudeCode,
    /// `auth.json` of Codex.
    Codex,
    /// `oauth_creds.json` of Gemini CLI.
    GeminiCli,
    /// A file below `credentials` of kimi-cli.
    KimiCli,
    /// `auth.json` of OpenCode, which holds logins of several providers.
    OpenCode,
}

impl FollowFormat {
    /// The name of the tool, as `import` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::GeminiCli => "gemini-cli",
            Self::KimiCli => "kimi-cli",
            Self::OpenCode => "opencode",
        }
    }

    /// The name of the tool for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
            Self::GeminiCli => "Gemini CLI",
            Self::KimiCli => "kimi-cli",
            Self::OpenCode => "OpenCode",
        }
    }

    /// The format of a text by its shape; `None` for one that holds no login of any tool, as after a logout.
    fn of(object: &JsonObject<'_>) -> Option<Self> {
        let has = |names: &[&str]| names.iter().any(|name| object.has(name));
        if has(&["claudeAiOauth"]) {
            Some(Self::ClaudeCode)
        } else if has(&["tokens", "OPENAI_API_KEY", "last_refresh", "auth_mode"]) {
            Some(Self::Codex)
        } else if has(&["access_token", "refresh_token"]) {
            // One counts the end in milliseconds and the other in seconds, under names of their own.
            Some(if has(&["expires_at", "expires_in"]) { Self::KimiCli } else { Self::GeminiCli })
        } else {
            object.has_objects_with("type").then_some(Self::OpenCode)
        }
    }
}

/// What a followed file holds now.
#[derive(Debug)]
pub struct FollowedLogin {
    /// Whose file it is.
    pub format: FollowFormat,
    /// The access token.
    pub access: AccessToken,
    /// What the tool refreshes it with; `None` where it cannot. It is for [`crate::import`]'s takers alone: who follows drops it.
    pub refresh: Option<RefreshToken>,
    /// When the access token ends, where that is known.
    pub expires_at: Option<Timestamp>,
    /// Whose login it is, as far as the file and the claims of its tokens say.
    pub identity: Identity,
}

/// Why a followed file gives no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowFault {
    /// The tool is logged out.
    #[error("the tool is logged out")]
    LoggedOut,
    /// The file is not what the tool writes; it may be half written, so another look soon helps.
    #[error("the file is not what the tool writes: {0}")]
    Malformed(#[from] TextFault),
    /// The token holds characters that a header cannot carry.
    #[error("the token holds characters that a header cannot carry")]
    NotSendable,
}

/// Reads what a followed file holds for a provider; the format is told by the text's shape.
pub fn read_followed(profile: &ProviderProfile, text: &[u8]) -> Result<FollowedLogin, FollowFault> {
    let format = FollowFormat::of(&JsonObject::parse(text)?).ok_or(FollowFault::LoggedOut)?;
    let Login { access, refresh, expires_at, identity } = match format {
        FollowFormat::ClaudeCode => claude_code::read(text).map(|(login, _plan)| login)?,
        FollowFormat::Codex => codex::read(text, &profile.identity)?,
        FollowFormat::GeminiCli => gemini_cli::read(text)?,
        FollowFormat::KimiCli => kimi_cli::read(text, &profile.identity)?,
        FollowFormat::OpenCode => opencode::read(text, profile)?,
    };
    Ok(FollowedLogin { format, access, refresh, expires_at, identity })
}
