//! The vault's folder: who may own it, who may look into it, and what stands where.

use crate::StoreError;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// The folder of a vault, checked. All paths are absolute and free of symbolic links.
#[derive(Debug, Clone)]
pub(crate) struct VaultHome {
    folder: PathBuf,
}

impl VaultHome {
    /// Makes the folder where it is missing, and what belongs into it. Refuses where a vault is.
    pub(crate) fn prepare(home: &Path) -> Result<Self, StoreError> {
        if vault_exists(home) {
            return Err(StoreError::Exists { path: home.join(DATABASE) });
        }
        folder_ensure(home)?;
        Self::at(home)
    }

    /// The folder of a vault that is there.
    pub(crate) fn find(home: &Path) -> Result<Self, StoreError> {
        match std::fs::symlink_metadata(home) {
            Ok(_) => folder_check(home)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Absent { path: home.to_owned() }),
            Err(source) => return Err(StoreError::Io { doing: "looking for the vault", path: home.to_owned(), source }),
        }
        if !vault_exists(home) {
            return Err(StoreError::Absent { path: home.to_owned() });
        }
        Self::at(home)
    }

    fn at(home: &Path) -> Result<Self, StoreError> {
        let folder = home.canonicalize().map_err(StoreError::io("resolving the folder", home))?;
        refuse_network(&folder)?;
        let home = Self { folder };
        for folder in [home.spill(), home.locks(), home.backups()] {
            folder_ensure(&folder)?;
        }
        // SQLite follows links for these; it must find its own files or none.
        for name in [DATABASE, "vault.db-wal", "vault.db-shm", "vault.db-journal"] {
            let path = home.folder.join(name);
            match std::fs::symlink_metadata(&path) {
                Ok(metadata) => file_check(&path, &metadata)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StoreError::Io { doing: "looking at a file", path, source }),
            }
        }
        Ok(home)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    pub(crate) fn spill(&self) -> PathBuf {
        self.folder.join("spill")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.folder.join("locks")
    }

    pub(crate) fn backups(&self) -> PathBuf {
        self.folder.join("backups")
    }
}

const DATABASE: &str = "vault.db";

/// Whether a vault stands in this folder, whatever state it is in.
pub fn vault_exists(home: &Path) -> bool {
    std::fs::symlink_metadata(home.join(DATABASE)).is_ok()
}

/// A folder of mode 0700: made where it is missing, checked where it is there.
pub(crate) fn folder_ensure(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Ok(()) => {
            // The umask may have taken bits from us, which the check would not say well.
            std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
                .map_err(StoreError::io("closing the folder to others", path))?;
            // Without this a loss of power may take the folder with all that was synced inside.
            folder_sync(parent.unwrap_or(Path::new(".")))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = parent else {
                return Err(StoreError::Io { doing: "making the folder", path: path.to_owned(), source: error });
            };
            folder_ensure(parent)?;
            return folder_ensure(path);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(StoreError::Io { doing: "making the folder", path: path.to_owned(), source }),
    }
    folder_check(path)
}

fn folder_check(path: &Path) -> Result<(), StoreError> {
    let metadata = std::fs::symlink_metadata(path).map_err(StoreError::io("looking at the folder", path))?;
    let refuse = |why: String| Err(StoreError::Unsafe { path: path.to_owned(), why });
    if metadata.is_symlink() {
        return refuse("is a symbolic link: name the folder that it points to".to_owned());
    }
    if !metadata.is_dir() {
        return refuse("is no folder: name another one".to_owned());
    }
    check_owner(path, &metadata)?;
    if metadata.mode() & OTHERS != 0 {
        return refuse(format!("is open to others (mode {:04o}): chmod 700 {}", metadata.mode() & 0o7777, path.display()));
    }
    Ok(())
}

fn file_check(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::Unsafe { path: path.to_owned(), why });
    if metadata.is_symlink() {
        return Err(linked(path));
    }
    if !metadata.is_file() {
        return refuse("is no regular file: move it away".to_owned());
    }
    check_owner(path, metadata)?;
    if metadata.mode() & OTHERS != 0 {
        return refuse(format!("is open to others (mode {:04o}): chmod 600 {}", metadata.mode() & 0o7777, path.display()));
    }
    Ok(())
}

/// Whether a file of ours is there. Looks without opening it: a descriptor that is closed would take the locks of SQLite with it.
pub(crate) fn file_is_ours(path: &Path) -> Result<bool, StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => file_check(path, &metadata).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StoreError::Io { doing: "looking at a file", path: path.to_owned(), source }),
    }
}

/// Whether others can put files into a folder, or take them out of it.
pub(crate) fn is_writable_for_others(folder: &Path) -> Result<bool, StoreError> {
    let metadata = std::fs::metadata(folder).map_err(StoreError::io("looking at the folder", folder))?;
    Ok(metadata.mode() & OTHERS_WRITE != 0)
}

fn linked(path: &Path) -> StoreError {
    StoreError::Unsafe { path: path.to_owned(), why: "is a symbolic link: put the file itself here".to_owned() }
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() == own {
        return Ok(());
    }
    let why = format!("belongs to user {}, not to {own}: chown {own} {}", metadata.uid(), path.display());
    Err(StoreError::Unsafe { path: path.to_owned(), why })
}

/// Creates a file of ours: new, mode 0600 whatever the umask, never through a link.
pub(crate) fn file_create(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).custom_flags(no_follow()).open(path);
    let file = file.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists { path: path.to_owned() },
        _ => StoreError::io("creating the file", path)(source),
    })?;
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(StoreError::io("closing the file to others", path))?;
    Ok(file)
}

/// Opens a file of ours for reading, never through a link. [`StoreError::Absent`] where there is none.
pub(crate) fn file_open(path: &Path) -> Result<File, StoreError> {
    open_checked(OpenOptions::new().read(true), path)
}

/// Opens a file of ours for reading and writing, never through a link.
pub(crate) fn file_open_writable(path: &Path) -> Result<File, StoreError> {
    open_checked(OpenOptions::new().read(true).write(true), path)
}

/// Opens a file of ours for locking: made where it is missing.
pub(crate) fn file_open_or_create(path: &Path) -> Result<File, StoreError> {
    open_checked(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE), path)
}

fn open_checked(options: &mut OpenOptions, path: &Path) -> Result<File, StoreError> {
    let opened = options.custom_flags(no_follow()).open(path);
    let file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Absent { path: path.to_owned() },
        _ if rustix::io::Errno::from_io_error(&source) == Some(rustix::io::Errno::LOOP) => linked(path),
        _ => StoreError::io("opening the file", path)(source),
    })?;
    file_check(path, &file.metadata().map_err(StoreError::io("looking at the file", path))?)?;
    Ok(file)
}

/// `O_NOFOLLOW`; and `O_NONBLOCK`, so that a pipe at this place cannot hold us up.
fn no_follow() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).expect("flags of open(2) fit an int")
}

/// Makes what was created or removed in a folder durable.
pub(crate) fn folder_sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(StoreError::io("syncing the folder", path))
}

/// Network file systems have neither the shared memory nor the locks that the vault stands on.
#[cfg(target_os = "linux")]
fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    /// Numbers of `statfs(2)`: NFS, SMB, CIFS, SMB 2.
    const NETWORK: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
    let stat = rustix::fs::statfs(folder).map_err(|errno| StoreError::io("looking at the file system", folder)(errno.into()))?;
    if NETWORK.iter().any(|kind| i128::from(stat.f_type) & 0xffff_ffff == i128::from(*kind)) {
        let why = "is on a network file system, where locks cannot be trusted: name a local folder".to_owned();
        return Err(StoreError::Unsafe { path: folder.to_owned(), why });
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_folder: &Path) -> Result<(), StoreError> {
    Ok(())
}
