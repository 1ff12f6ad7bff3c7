//! Errors of the control plane: a code for programs, a message for people, a hint with the next command.

use serde::{Deserialize, Serialize};

/// What kind of failure it is; decides the exit code and the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Something failed. Exit 1, status 500.
    Failed,
    /// The question is malformed. Exit 2, status 400.
    Usage,
    /// The vault is locked by another process, or cannot be opened with what is at hand. Exit 3, status 503.
    Locked,
    /// The server that answers has not opened its vault yet. Exit 3, status 503.
    Sealed,
    /// There is no such thing. Exit 4, status 404.
    NotFound,
    /// It is not allowed. Exit 5, status 403.
    Refused,
}

impl ErrorCode {
    /// The exit code of the program.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Locked | Self::Sealed => 3,
            Self::NotFound => 4,
            Self::Refused => 5,
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Failed => 500,
            Self::Usage => 400,
            Self::Locked | Self::Sealed => 503,
            Self::NotFound => 404,
            Self::Refused => 403,
        }
    }
}

/// A failure of the control plane. The message is lower case without a full stop and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct AdminError {
    /// The kind.
    pub code: ErrorCode,
    /// What failed, for people.
    pub message: String,
    /// The next command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl AdminError {
    /// Without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// With the next command to type.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// From an error and all of its causes, in one line.
    pub fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(ErrorCode::Failed, message)
    }
}

/// The body of an error: `{"error":{"code","message","hint"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: AdminError,
}
