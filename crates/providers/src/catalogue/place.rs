//! Where a value of the catalogue was written.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A file of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceFile {
    /// A file inside the binary.
    BuiltIn(&'static str),
    /// A file of the user.
    File(Arc<PathBuf>),
}

/// A file, line and column, counted from 1. Line 0 stands for the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PlaceFile,
    /// The line; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters; 0 for the file as a whole.
    pub column: usize,
}

impl fmt::Display for PlaceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => write!(f, "built-in {name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Place {
    /// A file as a whole.
    pub(super) fn whole(file: &PlaceFile) -> Self {
        Self { file: file.clone(), line: 0, column: 0 }
    }

    /// The place of a byte offset.
    pub(super) fn of_offset(file: &PlaceFile, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    /// Whether the value comes with the binary.
    pub fn is_built_in(&self) -> bool {
        matches!(self.file, PlaceFile::BuiltIn(_))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::whole(&PlaceFile::BuiltIn("catalogue"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)?;
        if self.line == 0 { Ok(()) } else { write!(f, ":{}:{}", self.line, self.column) }
    }
}
