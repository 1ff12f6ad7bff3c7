//! What is wrong with the files of the catalogue: all of it, each fault with its place and key.

use super::place::Place;
use std::cell::RefCell;
use std::fmt;

/// One thing that is wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// The dotted key; empty for a file that could not be read.
    pub key: String,
    /// What is wrong, without the value where it may be a secret.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// A catalogue that cannot be used: the user's files are at fault. Its text has a line per fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CatalogueError {
    /// All faults of all files, in the order of files and lines; never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects faults while several readers hold it.
#[derive(Debug, Default)]
pub(super) struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub(super) fn add(&self, place: &Place, key: &str, problem: impl Into<String>) {
        let fault = Fault { place: place.clone(), key: key.to_owned(), problem: problem.into() };
        let mut faults = self.0.borrow_mut();
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    pub(super) fn into_result(self) -> Result<(), CatalogueError> {
        let mut faults = self.0.into_inner();
        faults.sort_by_cached_key(|fault| (fault.place.file.to_string(), fault.place.line, fault.place.column));
        if faults.is_empty() { Ok(()) } else { Err(CatalogueError { faults }) }
    }
}
