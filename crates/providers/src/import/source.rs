//! The tools that accounts can be imported from.

use super::{FILE_MAX_BYTES, Import, ImportError, claude_code, codex, environment, omp};
use crate::catalogue::Catalogue;
use claviger_domain::time::Timestamp;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What a source may look at.
#[derive(Clone, Copy)]
pub struct ImportContext<'a> {
    /// The providers that are known here.
    pub catalogue: &'a Catalogue,
    /// Now, to leave out blocks that have ended.
    pub now: Timestamp,
    /// The home folder, where there is one.
    pub home: Option<&'a Path>,
    /// Reads an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for ImportContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportContext").field("now", &self.now).field("home", &self.home).finish_non_exhaustive()
    }
}

/// Where a source keeps its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file whose accounts are taken over: this tool and Claviger must not both refresh them.
    File,
    /// A file that is followed: the tool goes on refreshing it.
    FollowedFile,
    /// The environment.
    Environment,
}

/// A tool that accounts can be imported from.
#[derive(Debug)]
pub struct ImportSource {
    /// The name on the command line.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// Where it keeps its credentials.
    pub kind: SourceKind,
    /// The variable that names the tool's folder.
    folder_variable: Option<&'static str>,
    /// The folder below the home folder.
    folder: &'static str,
    /// The file below the folder.
    file: &'static str,
}

static SOURCES: [ImportSource; 4] = [
    ImportSource {
        name: "omp",
        title: "oh-my-pi",
        kind: SourceKind::File,
        folder_variable: Some("PI_CODING_AGENT_DIR"),
        folder: ".omp/agent",
        file: "agent.db",
    },
    ImportSource {
        name: "claude-code",
        title: "Claude Code",
        kind: SourceKind::FollowedFile,
        folder_variable: Some("CLAUDE_CONFIG_DIR"),
        folder: ".claude",
        file: ".credentials.json",
    },
    ImportSource {
        name: "codex",
        title: "Codex",
        kind: SourceKind::FollowedFile,
        folder_variable: Some("CODEX_HOME"),
        folder: ".codex",
        file: "auth.json",
    },
    ImportSource { name: "env", title: "the environment", kind: SourceKind::Environment, folder_variable: None, folder: "", file: "" },
];

/// All sources, in the order in which they are offered.
pub fn sources() -> &'static [ImportSource] {
    &SOURCES
}

/// A source by its name.
pub fn source(name: &str) -> Option<&'static ImportSource> {
    SOURCES.iter().find(|source| source.name == name)
}

impl ImportSource {
    /// Where the tool keeps its file; `None` for the environment and without a home folder.
    pub fn default_path(&self, context: &ImportContext<'_>) -> Option<PathBuf> {
        if self.kind == SourceKind::Environment {
            return None;
        }
        let named = self.folder_variable.and_then(|variable| (context.environment)(variable)).filter(|folder| !folder.is_empty());
        let folder = match named {
            Some(folder) => PathBuf::from(folder),
            None => context.home?.join(self.folder),
        };
        Some(folder.join(self.file))
    }

    /// Reads the source: the file at `path`, or where the tool keeps it. Blocks on the file system.
    pub fn read(&self, context: &ImportContext<'_>, path: Option<&Path>) -> Result<Import, ImportError> {
        if self.kind == SourceKind::Environment {
            return Ok(environment::parse_env(context.catalogue, context.environment));
        }
        let path = path.map(Path::to_owned).or_else(|| self.default_path(context)).ok_or(ImportError::NoHome)?;
        match self.name {
            "omp" => omp::read_omp(context.catalogue, &path, context.now),
            "claude-code" => claude_code::parse_claude_code(context.catalogue, &file_bytes(&path)?, &path),
            _ => codex::parse_codex(context.catalogue, &file_bytes(&path)?, &path),
        }
    }
}

fn file_bytes(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, ImportError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => ImportError::NotFound { path: path.to_owned() },
        _ => ImportError::Unreadable { path: path.to_owned(), source },
    };
    // All of these files are followed, and a pipe is gone after one reading.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("no regular file")));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    // The buffer never grows, so that no copy of it is left behind.
    let limit = FILE_MAX_BYTES + 1;
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(usize::try_from(limit).unwrap_or_default()));
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 >= limit {
        return Err(ImportError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}
