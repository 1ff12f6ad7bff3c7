//! What a command can fail with: a code, a message and the next command to type.

use claviger_admin::{AdminError, ErrorCode};
use claviger_pool::PoolError;
use claviger_store::StoreError;
use std::path::Path;

/// A failed command. Its code decides the exit code; its message is lower case without a full stop and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CliError(pub AdminError, Saying);

/// Whether a failure is still to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    /// It is.
    Due,
    /// What the command printed says it already.
    Done,
}

impl CliError {
    /// Something failed: exit 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self(AdminError::new(ErrorCode::Failed, message), Saying::Due)
    }

    /// What was typed, or configured, is malformed: exit 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self(AdminError::new(ErrorCode::Usage, message), Saying::Due)
    }

    /// The vault is locked, sealed or not there: exit 3.
    pub fn locked(message: impl Into<String>) -> Self {
        Self(AdminError::new(ErrorCode::Locked, message), Saying::Due)
    }

    /// There is no such thing: exit 4.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self(AdminError::new(ErrorCode::NotFound, message), Saying::Due)
    }

    /// It is not allowed: exit 5.
    pub fn refused(message: impl Into<String>) -> Self {
        Self(AdminError::new(ErrorCode::Refused, message), Saying::Due)
    }

    /// A file or folder failed while `doing` something with it: exit 1.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::failed(format!("{}: {doing} failed: {error}", path.display()))
    }

    /// From any error with all of its causes: exit 1.
    pub fn caused(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(AdminError::failed(error), Saying::Due)
    }

    /// With the next command to type.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.hint(hint), self.1)
    }

    /// With the exit code of another run of this program, where it is one of ours.
    #[must_use]
    pub fn ending_as(mut self, exit_code: Option<i32>) -> Self {
        let ours = [ErrorCode::Usage, ErrorCode::Locked, ErrorCode::NotFound, ErrorCode::Refused];
        let code = ours.into_iter().find(|code| exit_code == Some(i32::from(code.exit_code())));
        self.0.code = code.unwrap_or(self.0.code);
        self
    }

    /// For a command whose one JSON document says it already: nothing more is printed, and the exit code stays.
    #[must_use]
    pub fn said(self) -> Self {
        Self(self.0, Saying::Done)
    }

    /// Whether nothing more is to be printed.
    pub fn is_said(&self) -> bool {
        self.1 == Saying::Done
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        self.0.code.exit_code()
    }
}

impl From<AdminError> for CliError {
    fn from(error: AdminError) -> Self {
        Self(error, Saying::Due)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let all = Self::caused(&error).0.message;
        match error {
            StoreError::Absent { .. } => Self::not_found(all).hint("claviger init"),
            StoreError::Exists { .. } => Self::refused(all).hint("claviger status"),
            StoreError::InUse { .. } => Self::refused(all).hint("claviger down"),
            StoreError::NotABackup { .. } => Self::refused(all).hint("claviger backup FILE"),
            StoreError::WrongKey { .. } => Self::locked(all)
                .hint("use the key file or passphrase of this vault, or name another one: export CLAVIGER_HOME=DIR CLAVIGER_CONFIG=FILE"),
            StoreError::Sealed { .. } => Self::locked(all).hint("export CLAVIGER_PASSPHRASE_FILE=FILE"),
            StoreError::SealChanged { .. } => Self::locked(all).hint("claviger down && claviger up -d"),
            StoreError::OlderSealInUse { .. } => Self::refused(all).hint("claviger down && claviger up -d, then claviger seal rotate"),
            StoreError::KitSealsNothing => Self::usage(all).hint("claviger seal rewrap --to keyfile"),
            StoreError::Unsafe { .. } => Self::refused(all).hint("claviger doctor"),
            StoreError::NewerSchema { .. } => Self::failed(all).hint("claviger --version"),
            StoreError::Row(_) | StoreError::Unwritable { .. } | StoreError::Database { .. } | StoreError::Io { .. } => {
                Self::failed(all).hint("claviger doctor")
            }
            StoreError::Injected(_) | StoreError::Closed => Self::failed(all),
        }
    }
}

impl From<PoolError> for CliError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Store(error) => error.into(),
        }
    }
}
