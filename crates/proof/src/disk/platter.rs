//! A disk as a loss of power may leave it: what was synced for sure, and of the rest whatever one likes.
//!
//! Contents are durable after a sync of their file; names after a sync of their folder, and in the order in which they
//! changed there, as on journalling file systems. Between files, and between contents and names, no order is promised.
//! Of an unsynced write each sector of 512 bytes may or may not have arrived.

use super::journal::Change;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const SECTOR_BYTES: usize = 512;
/// Memory that processes share; it does not outlive them.
const SHARED_MEMORY: &str = "-shm";

type FileId = usize;

#[derive(Debug, Clone)]
enum Edit {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Folder,
    File(FileId),
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Edit>,
}

#[derive(Debug, Default)]
struct Folder {
    durable: BTreeMap<String, Entry>,
    /// Names that came or went since the last sync.
    pending: Vec<(String, Option<Entry>)>,
}

/// What is lost of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it.
    All,
    /// Nothing, as when a process is killed.
    Nothing,
    /// Some, by this seed.
    Some(u64),
}

/// What is on a disk: contents by path, folders as `None`.
pub(crate) type Image = BTreeMap<String, Option<Vec<u8>>>;

/// The disk under the log.
#[derive(Debug)]
pub(crate) struct Platter {
    files: Vec<File>,
    by_inode: HashMap<u64, FileId>,
    folders: BTreeMap<String, Folder>,
}

impl Platter {
    /// An empty folder that is on disk.
    pub(crate) fn new() -> Self {
        Self { files: Vec::new(), by_inode: HashMap::new(), folders: BTreeMap::from([(String::new(), Folder::default())]) }
    }

    /// A folder with what is in it, all of it on disk.
    pub(crate) fn of(folder: &Path) -> std::io::Result<Self> {
        let mut platter = Self::new();
        let mut open = vec![String::new()];
        while let Some(path) = open.pop() {
            for entry in std::fs::read_dir(folder.join(&path))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                let kind = if entry.file_type()?.is_dir() {
                    platter.folders.insert(below.clone(), Folder::default());
                    open.push(below);
                    Entry::Folder
                } else {
                    platter.files.push(File { durable: std::fs::read(entry.path())?, pending: Vec::new() });
                    platter.by_inode.insert(entry.metadata()?.ino(), platter.files.len() - 1);
                    Entry::File(platter.files.len() - 1)
                };
                if let Some(folder) = platter.folders.get_mut(&path) {
                    folder.durable.insert(name, kind);
                }
            }
        }
        Ok(platter)
    }

    /// Makes a change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { inode, path } => {
                self.files.push(File::default());
                let id = self.files.len() - 1;
                self.by_inode.insert(*inode, id);
                self.name(path, Some(Entry::File(id)));
            }
            Change::MakeFolder { path } => {
                self.folders.insert(path.clone(), Folder::default());
                self.name(path, Some(Entry::Folder));
            }
            Change::Write { inode, offset, data, .. } => self.edit(*inode, Edit::Write { offset: *offset, data: data.clone() }),
            Change::Truncate { inode, length, .. } => self.edit(*inode, Edit::Truncate(*length)),
            Change::Sync { inode, .. } => {
                if let Some(file) = self.by_inode.get(inode).and_then(|id| self.files.get_mut(*id)) {
                    let File { durable, pending } = file;
                    pending.drain(..).for_each(|edit| edit.apply(durable, |_| true));
                }
            }
            Change::SyncFolder { path } => {
                if let Some(Folder { durable, pending }) = self.folders.get_mut(path) {
                    pending.drain(..).for_each(|entry| rename(durable, entry));
                }
            }
            Change::Rename { from, to } => {
                let entry = self.entry(from);
                self.name(to, entry);
                self.name(from, None);
            }
            Change::Link { from, to } => {
                let entry = self.entry(from);
                self.name(to, entry);
            }
            Change::Unlink { path } => self.name(path, None),
            Change::Mark { .. } | Change::Fault { .. } => {}
        }
    }

    /// The disk after a loss of power now.
    pub(crate) fn after(&self, loss: Loss) -> Image {
        let seed = match loss {
            Loss::Some(seed) => seed,
            Loss::All | Loss::Nothing => 0,
        };
        let mut chance = Chance(seed);
        let mut image = Image::new();
        let mut reached = vec![String::new()];
        while let Some(path) = reached.pop() {
            let Some(folder) = self.folders.get(&path) else { continue };
            for (name, entry) in folder.after(loss, &mut chance) {
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                match entry {
                    Entry::Folder => {
                        image.insert(path.clone(), None);
                        reached.push(path);
                    }
                    Entry::File(_) if path.ends_with(SHARED_MEMORY) => {}
                    Entry::File(id) => {
                        // By its own chance: a file has one content, however many names it has.
                        let mut chance = Chance(seed.wrapping_add(1 + id as u64));
                        image.insert(path, Some(self.files.get(id).map(|file| file.after(loss, &mut chance)).unwrap_or_default()));
                    }
                }
            }
        }
        image
    }

    fn edit(&mut self, inode: u64, edit: Edit) {
        if let Some(file) = self.by_inode.get(&inode).and_then(|id| self.files.get_mut(*id)) {
            file.pending.push(edit);
        }
    }

    fn name(&mut self, path: &str, entry: Option<Entry>) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.pending.push((name.to_owned(), entry));
        }
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folders.get(folder)?;
        let pending = folder.pending.iter().rev().find(|(pending, _)| pending == name);
        pending.map_or_else(|| folder.durable.get(name).copied(), |(_, entry)| *entry)
    }
}

impl File {
    fn after(&self, loss: Loss, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for edit in &self.pending {
            match loss {
                Loss::All => {}
                Loss::Nothing => edit.clone().apply(&mut bytes, |_| true),
                Loss::Some(_) => match chance.next() % 4 {
                    0 | 1 => {}
                    2 => edit.clone().apply(&mut bytes, |_| true),
                    _ => edit.clone().apply(&mut bytes, |_sector| chance.next().is_multiple_of(2)),
                },
            }
        }
        bytes
    }
}

impl Folder {
    fn after(&self, loss: Loss, chance: &mut Chance) -> BTreeMap<String, Entry> {
        let kept = match loss {
            Loss::All => 0,
            Loss::Nothing => self.pending.len(),
            Loss::Some(_) => usize::try_from(chance.next()).unwrap_or(0) % (self.pending.len() + 1),
        };
        let mut entries = self.durable.clone();
        self.pending.iter().take(kept).cloned().for_each(|entry| rename(&mut entries, entry));
        entries
    }
}

fn rename(entries: &mut BTreeMap<String, Entry>, (name, entry): (String, Option<Entry>)) {
    match entry {
        Some(entry) => entries.insert(name, entry),
        None => entries.remove(&name),
    };
}

impl Edit {
    /// Changes a content; of a write only the sectors that arrive.
    fn apply(self, bytes: &mut Vec<u8>, mut arrives: impl FnMut(usize) -> bool) {
        let (offset, data) = match self {
            Self::Truncate(length) => {
                if arrives(0) {
                    bytes.resize(length, 0);
                }
                return;
            }
            Self::Write { offset, data } => (offset, data),
        };
        let mut at = offset;
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let length = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
            let (sector, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            if arrives(at / SECTOR_BYTES) {
                if bytes.len() < at + length {
                    bytes.resize(at + length, 0);
                }
                if let Some(place) = bytes.get_mut(at..at + length) {
                    place.copy_from_slice(sector);
                }
            }
            at += length;
            rest = after;
        }
    }
}

/// Numbers from a seed (splitmix64): the same seed, the same disk.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Writes an image into a folder that is new: folders 0700, files 0600.
pub(crate) fn lay(image: &Image, folder: &Path) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    for (path, content) in image {
        let path = folder.join(path);
        match content {
            None => std::fs::DirBuilder::new().mode(0o700).create(path)?,
            Some(bytes) => std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: usize, data: &[u8]) -> Change {
        Change::Write { inode: 7, offset, data: data.to_vec(), path: "a/b".to_owned() }
    }

    fn platter(changes: &[Change]) -> Platter {
        let mut platter = Platter::new();
        for change in changes {
            platter.apply(change);
        }
        platter
    }

    fn born() -> Vec<Change> {
        vec![
            Change::MakeFolder { path: "a".to_owned() },
            Change::SyncFolder { path: String::new() },
            Change::Create { inode: 7, path: "a/b".to_owned() },
        ]
    }

    #[test]
    fn a_name_is_lost_until_its_folder_is_synced_and_a_content_until_its_file_is() {
        let mut changes = born();
        changes.push(write(0, b"one"));
        assert_eq!(platter(&changes).after(Loss::All), Image::from([("a".to_owned(), None)]));
        assert_eq!(platter(&changes).after(Loss::Nothing).get("a/b"), Some(&Some(b"one".to_vec())));
        changes.push(Change::SyncFolder { path: "a".to_owned() });
        assert_eq!(platter(&changes).after(Loss::All).get("a/b"), Some(&Some(Vec::new())));
        changes.push(Change::Sync { inode: 7, path: "a/b".to_owned() });
        changes.push(write(1, b"xy"));
        assert_eq!(platter(&changes).after(Loss::All).get("a/b"), Some(&Some(b"one".to_vec())));
        assert_eq!(platter(&changes).after(Loss::Nothing).get("a/b"), Some(&Some(b"oxy".to_vec())));
        changes.push(Change::Unlink { path: "a/b".to_owned() });
        assert!(platter(&changes).after(Loss::All).contains_key("a/b"));
        assert!(!platter(&changes).after(Loss::Nothing).contains_key("a/b"));
    }

    #[test]
    fn seeds_tear_an_unsynced_write_at_sectors_and_nowhere_else() {
        let mut changes = born();
        changes.extend([Change::SyncFolder { path: "a".to_owned() }, write(0, &[1; 2048])]);
        let platter = platter(&changes);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let image = platter.after(Loss::Some(seed));
            let Some(Some(bytes)) = image.get("a/b") else { panic!("the name is durable") };
            assert!(bytes.chunks(SECTOR_BYTES).all(|sector| sector == [1; 512] || sector == [0; 512]), "seed {seed}");
            seen.insert(bytes.clone());
        }
        assert!(seen.len() >= 12, "{} different disks", seen.len());
    }
}
