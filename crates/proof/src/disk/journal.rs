//! The log of a watched folder, as `claviger-faultdisk` writes it, read back.

use std::path::Path;

/// One change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A file appeared.
    Create { inode: u64, path: String },
    /// A folder appeared.
    MakeFolder { path: String },
    /// Bytes were written.
    Write { inode: u64, offset: usize, data: Vec<u8>, path: String },
    /// A file got this length.
    Truncate { inode: u64, length: usize, path: String },
    /// A file was synced.
    Sync { inode: u64, path: String },
    /// A folder was synced.
    SyncFolder { path: String },
    /// A name moved.
    Rename { from: String, to: String },
    /// A file got a second name.
    Link { from: String, to: String },
    /// A name went.
    Unlink { path: String },
    /// The program said where it is.
    Mark { text: String },
    /// A change was refused.
    Fault { path: String },
}

impl Change {
    /// Whether the disk is another one after it.
    pub(crate) fn is_made(&self) -> bool {
        !matches!(self, Self::Mark { .. } | Self::Fault { .. })
    }
}

/// Reads a log. A record that is cut at the end was never finished.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<Change>> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.as_slice();
    Ok(std::iter::from_fn(|| next(&mut rest)).collect())
}

fn next(bytes: &mut &[u8]) -> Option<Change> {
    let [kind] = take::<1>(bytes)?;
    let inode = u64::from_le_bytes(take(bytes)?);
    let offset = usize::try_from(u64::from_le_bytes(take(bytes)?)).ok()?;
    let [path_length, data_length] = [take::<4>(bytes)?, take::<4>(bytes)?].map(|length| u32::from_le_bytes(length) as usize);
    let path = text(part(bytes, path_length)?);
    let data = part(bytes, data_length)?;
    Some(match kind {
        1 => Change::Create { inode, path },
        2 => Change::Write { inode, offset, data: data.to_vec(), path },
        3 => Change::Truncate { inode, length: offset, path },
        4 => Change::Sync { inode, path },
        5 => Change::SyncFolder { path },
        6 => Change::Rename { from: path, to: text(data) },
        7 => Change::Unlink { path },
        8 => Change::Link { from: path, to: text(data) },
        9 => Change::MakeFolder { path },
        10 => Change::Mark { text: path },
        11 => Change::Fault { path },
        _ => return None,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn part<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}
