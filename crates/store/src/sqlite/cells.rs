//! Cells of rows: SQL shapes in, domain types out; what cannot be read becomes a fault that names row and column.

use crate::seal::{Binding, Keyring};
use crate::{Fingerprint, RowFault, RowFaultKind};
use claviger_domain::id::{AttemptId, InstanceId};
use claviger_domain::origin::{Origin, Origins, Purpose, StoredOrigins};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSql;
use zeroize::Zeroize;

/// The cells of one row.
pub(super) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    table: &'static str,
    id: String,
}

impl<'r, 's> Cells<'r, 's> {
    /// The cells of a row whose id stands in the column `id`.
    pub(super) fn new(row: &'r Row<'s>, table: &'static str, id: &impl ToString) -> Self {
        Self { row, table, id: id.to_string() }
    }

    /// A fault of this row.
    pub(super) fn fault(&self, column: &'static str, kind: RowFaultKind) -> RowFault {
        RowFault { table: self.table, row: self.id.clone(), column, kind }
    }

    /// The row's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether there is such a column; a header is read under whatever schema it has.
    pub(super) fn has(&self, column: &str) -> bool {
        self.row.as_ref().column_index(column).is_ok()
    }

    /// A cell as SQL has it.
    pub(super) fn get<T: FromSql>(&self, column: &'static str) -> Result<T, RowFault> {
        self.row.get(column).map_err(|_shape| self.fault(column, RowFaultKind::Malformed))
    }

    /// A cell that is read by a function, which answers `None` for what it cannot read.
    pub(super) fn read<T: FromSql, U>(&self, column: &'static str, read: impl FnOnce(T) -> Option<U>) -> Result<U, RowFault> {
        read(self.get(column)?).ok_or_else(|| self.fault(column, RowFaultKind::Malformed))
    }

    /// A cell whose text parses.
    pub(super) fn parse<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, RowFault> {
        self.read(column, |text: String| text.parse().ok())
    }

    pub(super) fn revision(&self, column: &'static str) -> Result<u64, RowFault> {
        self.read(column, |number: i64| u64::try_from(number).ok())
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, RowFault> {
        self.get(column).map(Timestamp)
    }

    pub(super) fn time_if_any(&self, column: &'static str) -> Result<Option<Timestamp>, RowFault> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp))
    }

    pub(super) fn fingerprint(&self, column: &'static str) -> Result<Fingerprint, RowFault> {
        self.get(column).map(Fingerprint)
    }

    pub(super) fn attempt(&self, column: &'static str) -> Result<AttemptId, RowFault> {
        self.get(column).map(|bytes| AttemptId(u128::from_be_bytes(bytes)))
    }

    pub(super) fn instance(&self, column: &'static str) -> Result<InstanceId, RowFault> {
        self.get(column).map(|bytes| InstanceId(u128::from_be_bytes(bytes)))
    }

    /// A pair of columns that stand or fall together: a cause and since when.
    pub(super) fn cause(&self, cause: &'static str, since: &'static str) -> Result<Option<(String, Timestamp)>, RowFault> {
        match (self.get::<Option<String>>(cause)?, self.time_if_any(since)?) {
            (None, None) => Ok(None),
            (Some(cause), Some(since)) => Ok(Some((cause, since))),
            _ => Err(self.fault(since, RowFaultKind::Malformed)),
        }
    }

    /// A sealed text; `None` where the cell is empty.
    pub(super) fn secret_if_any(
        &self,
        keyring: &Keyring,
        binding: &Binding<'_>,
        column: &'static str,
    ) -> Result<Option<SecretText>, RowFault> {
        let Some(sealed) = self.get::<Option<Vec<u8>>>(column)? else { return Ok(None) };
        let mut plain = keyring.open(binding, &sealed).map_err(|kind| self.fault(column, kind))?;
        match String::from_utf8(std::mem::take(&mut *plain)) {
            Ok(text) => Ok(Some(SecretText::new(text))),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(self.fault(column, RowFaultKind::Malformed))
            }
        }
    }

    /// A sealed text that must be there.
    pub(super) fn secret(&self, keyring: &Keyring, binding: &Binding<'_>, column: &'static str) -> Result<SecretText, RowFault> {
        self.secret_if_any(keyring, binding, column)?.ok_or_else(|| self.fault(column, RowFaultKind::Malformed))
    }
}

/// All purposes, in the order of the stored text.
const PURPOSES: [Purpose; 3] = [Purpose::Inference, Purpose::Usage, Purpose::Token];

/// Stored origins as text.
pub(super) fn origins_text(origins: &StoredOrigins) -> String {
    origins.canonical(&PURPOSES)
}

/// Stored origins from their text; only the canonical text of a set is read.
pub(super) fn origins_from_text(text: &str) -> Option<StoredOrigins> {
    let mut words = text.split(' ');
    let stored = match words.next()? {
        "builtin" => StoredOrigins::Builtin,
        "explicit" => {
            let mut origins = Origins::default();
            let mut set = None;
            for word in words {
                match word {
                    "inference" => set = Some(&mut origins.inference),
                    "usage" => set = Some(&mut origins.usage),
                    "token" => set = Some(&mut origins.token),
                    origin => {
                        set.as_mut()?.insert(origin.parse::<Origin>().ok()?);
                    }
                }
            }
            StoredOrigins::Explicit(origins)
        }
        _ => return None,
    };
    (origins_text(&stored) == text).then_some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn origins_read_back_what_was_written_and_nothing_else() {
        let set = |text: &str| BTreeSet::from([text.parse::<Origin>().unwrap()]);
        let explicit = Origins { inference: set("https://a.example"), usage: BTreeSet::new(), token: set("http://127.0.0.1:9") };
        for origins in [StoredOrigins::Builtin, StoredOrigins::Explicit(explicit), StoredOrigins::Explicit(Origins::default())] {
            assert_eq!(origins_from_text(&origins_text(&origins)), Some(origins));
        }
        for bad in [
            "",
            "builtin x",
            "explicit",
            "explicit https://a.example:443",
            "explicit inference usage token x",
            "explicit inference http://evil.example usage token",
        ] {
            assert_eq!(origins_from_text(bad), None, "{bad}");
        }
    }
}
