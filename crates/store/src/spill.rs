//! Spill slots: files that are allocated before a refresh is sent, so that its answer can be kept even on a full disk.
//!
//! A slot is `length (4) | sealed record | zeros`. It is bound to its grant, its attempt and the revision that the attempt
//! replaces. On file systems that copy on write, allocation promises less than it does elsewhere.

use crate::home::{file_create, file_open, file_open_writable, folder_sync};
use crate::seal::{Binding, Keyring, SEAL_OVERHEAD_BYTES, sealed_version};
use crate::{RowFault, RowFaultKind, SpillRecord, StoreError};
use arc_swap::ArcSwap;
use claviger_domain::id::{AttemptId, GrantId, GrantRevision};
use claviger_domain::time::Timestamp;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most bytes of an answer's body. A token endpoint answers with a few KiB; a longer answer is ambiguous.
pub const SPILL_BODY_MAX_BYTES: usize = 64 * 1024;
/// Most bytes that are kept of one header; what is longer is cut, since losing the answer would be worse.
pub const SPILL_HEADER_MAX_BYTES: usize = 256;
/// Size of a slot: the body, the kept headers, the seal, and room to a page's end.
pub const SPILL_SLOT_BYTES: usize = SPILL_BODY_MAX_BYTES + 4096;

/// The table that slots are named by in faults.
pub(crate) const SPILL_TABLE: &str = "spill";
const LENGTH_BYTES: usize = 4;
const ENCODING: u8 = 1;

/// The slots of a vault. Its methods block.
#[derive(Debug, Clone)]
pub(crate) struct Spill {
    folder: PathBuf,
    keyring: Arc<ArcSwap<Keyring>>,
}

/// What an answer belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpillPlace {
    pub(crate) grant: GrantId,
    pub(crate) from: GrantRevision,
    pub(crate) attempt: AttemptId,
}

impl SpillPlace {
    fn row(&self) -> String {
        format!("{}/{}", self.grant, self.attempt)
    }

    fn fault(&self, kind: RowFaultKind) -> StoreError {
        RowFault { table: SPILL_TABLE, row: self.row(), column: "answer", kind }.into()
    }
}

fn binding<'a>(row: &'a str, place: &SpillPlace) -> Binding<'a> {
    Binding { table: SPILL_TABLE, row, column: "answer", revision: place.from.0, provider: "", origins: "" }
}

impl Spill {
    pub(crate) fn new(folder: PathBuf, keyring: Arc<ArcSwap<Keyring>>) -> Self {
        Self { folder, keyring }
    }

    fn slot(&self, attempt: AttemptId) -> PathBuf {
        self.folder.join(attempt.to_string())
    }

    /// Creates a slot, allocated and synced.
    pub(crate) fn create(&self, attempt: AttemptId) -> Result<(), StoreError> {
        let path = self.slot(attempt);
        let file = file_create(&path)?;
        if let Err(source) = allocate(&file).and_then(|()| file.sync_all()) {
            claviger_runtime::best_effort("remove a slot that could not be allocated", std::fs::remove_file(&path));
            return Err(StoreError::io("allocating the slot", &path)(source));
        }
        folder_sync(&self.folder)
    }

    /// Seals an answer into its slot, in place; synced when it returns.
    pub(crate) fn write(&self, place: &SpillPlace, record: &SpillRecord) -> Result<(), StoreError> {
        let path = self.slot(place.attempt);
        if record.body.len() > SPILL_BODY_MAX_BYTES {
            let source = io::Error::new(io::ErrorKind::FileTooLarge, "the answer is over 64 KiB");
            return Err(StoreError::Io { doing: "spilling the answer", path, source });
        }
        let sealed = self.keyring.load().seal(&binding(&place.row(), place), &encode(record));
        let length = u32::try_from(sealed.len()).expect("a record is shorter than its slot").to_be_bytes();
        let bytes = [length.as_slice(), &sealed].concat();
        let file = file_open_writable(&path)?;
        file.write_all_at(&bytes, 0).and_then(|()| file.sync_data()).map_err(StoreError::io("spilling the answer", &path))
    }

    /// Reads a slot. `None` for an empty one, and where there is none; a torn or changed one is a fault that names it.
    pub(crate) fn read(&self, place: &SpillPlace) -> Result<Option<SpillRecord>, StoreError> {
        let Some(bytes) = self.bytes(place.attempt)? else { return Ok(None) };
        let sealed = bytes.split_first_chunk::<LENGTH_BYTES>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            rest.get(..length)
        });
        let sealed = sealed.ok_or_else(|| place.fault(RowFaultKind::Damaged))?;
        let plain = self.keyring.load().open(&binding(&place.row(), place), sealed).map_err(|kind| place.fault(kind))?;
        decode(&plain).map(Some).ok_or_else(|| place.fault(RowFaultKind::Malformed))
    }

    /// Whether a slot holds nothing, or is not there.
    pub(crate) fn is_empty(&self, attempt: AttemptId) -> Result<bool, StoreError> {
        Ok(self.bytes(attempt)?.is_none())
    }

    /// The version of the data key that the answer in a slot is sealed with; `None` where there is no answer that could be opened.
    pub(crate) fn key_version(&self, attempt: AttemptId) -> Result<Option<u32>, StoreError> {
        let version = |bytes: Vec<u8>| sealed_version(bytes.split_first_chunk::<LENGTH_BYTES>()?.1);
        Ok(self.bytes(attempt)?.and_then(version))
    }

    /// What stands in a slot; `None` for zeros alone, and where there is none.
    fn bytes(&self, attempt: AttemptId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.slot(attempt);
        let file = match file_open(&path) {
            Ok(file) => file,
            Err(StoreError::Absent { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::with_capacity(SPILL_SLOT_BYTES);
        file.take(SPILL_SLOT_BYTES as u64).read_to_end(&mut bytes).map_err(StoreError::io("reading the slot", &path))?;
        Ok(bytes.iter().any(|byte| *byte != 0).then_some(bytes))
    }

    /// Removes a slot; one that is gone is no error.
    pub(crate) fn remove(&self, attempt: AttemptId) -> Result<(), StoreError> {
        let path = self.slot(attempt);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Io { doing: "removing the slot", path, source }),
            _ => Ok(()),
        }
    }

    /// All slots that exist. Files with other names are left alone.
    pub(crate) fn list(&self) -> Result<Vec<AttemptId>, StoreError> {
        let failed = |source| StoreError::io("listing the slots", &self.folder)(source);
        let mut attempts = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            attempts.extend(entry.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<AttemptId>().ok()));
        }
        attempts.sort_unstable();
        Ok(attempts)
    }
}

/// Allocates and writes the whole slot, so that filling it later needs neither space nor new metadata.
fn allocate(mut file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, SPILL_SLOT_BYTES as u64) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno.into()),
    }
    file.write_all(&vec![0; SPILL_SLOT_BYTES])
}

/// The part of a header that is kept.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SPILL_HEADER_MAX_BYTES)).unwrap_or_default()
}

/// A record as it comes back out of a slot.
pub(crate) fn cut_headers(record: &SpillRecord) -> SpillRecord {
    let SpillRecord { status, date, retry_after, content_type, sent_at, body } = record;
    let kept = |header: &Option<String>| header.as_deref().map(|text| cut(text).to_owned());
    SpillRecord {
        status: *status,
        date: kept(date),
        retry_after: kept(retry_after),
        content_type: kept(content_type),
        sent_at: *sent_at,
        body: body.clone(),
    }
}

fn encode(record: &SpillRecord) -> Zeroizing<Vec<u8>> {
    let SpillRecord { status, date, retry_after, content_type, sent_at, body } = record;
    let mut bytes = Zeroizing::new(Vec::with_capacity(SPILL_SLOT_BYTES));
    bytes.push(ENCODING);
    bytes.extend_from_slice(&status.to_be_bytes());
    bytes.extend_from_slice(&sent_at.0.to_be_bytes());
    for header in [date, retry_after, content_type] {
        match header {
            None => bytes.push(0),
            Some(text) => {
                let kept = cut(text);
                bytes.push(1);
                bytes.extend_from_slice(&u16::try_from(kept.len()).unwrap_or(0).to_be_bytes());
                bytes.extend_from_slice(kept.as_bytes());
            }
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<SpillRecord> {
    let [ENCODING] = take::<1>(&mut bytes)? else { return None };
    let status = u16::from_be_bytes(take(&mut bytes)?);
    let sent_at = Timestamp(i64::from_be_bytes(take(&mut bytes)?));
    let mut header = || -> Option<Option<String>> {
        match take::<1>(&mut bytes)? {
            [0] => Some(None),
            [1] => {
                let length = usize::from(u16::from_be_bytes(take(&mut bytes)?));
                let (text, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Some(Some(std::str::from_utf8(text).ok()?.to_owned()))
            }
            _ => None,
        }
    };
    let (date, retry_after, content_type) = (header()?, header()?, header()?);
    Some(SpillRecord { status, date, retry_after, content_type, sent_at, body: Zeroizing::new(bytes.to_vec()) })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

const _: () = assert!(
    LENGTH_BYTES + SEAL_OVERHEAD_BYTES + 1 + 2 + 8 + 3 * (3 + SPILL_HEADER_MAX_BYTES) + SPILL_BODY_MAX_BYTES <= SPILL_SLOT_BYTES,
    "the largest record fits its slot"
);
