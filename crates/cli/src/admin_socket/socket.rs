//! The socket as a file: who may have it, and whether the one that is there is alive.

use crate::error::CliError;
use claviger_runtime::{Clock, SystemClock};
use rustix::fs::Mode;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// Most bytes of a socket's path: what every system with unix sockets takes.
const PATH_MAX_BYTES: usize = 103;

/// The longest wait for another start: longer than that one waits for its server.
const START_WAIT_MAX: Duration = Duration::from_secs(45);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Holds the right to serve on one socket; freed with the process. The lock's file stays, since unlinking it would let two
/// processes lock two files of one name.
#[derive(Debug)]
pub struct SocketLock {
    path: PathBuf,
    #[expect(dead_code, reason = "held for its lock")]
    file: File,
}

impl SocketLock {
    /// Takes the right to serve on the socket. `None` while another process has it.
    pub fn take(socket: &Path) -> Result<Option<Self>, CliError> {
        check_length(socket)?;
        private_folder(socket.parent().unwrap_or(Path::new("/")))?;
        let lock_path = lock_path(socket);
        let file = open_lock(&lock_path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { path: socket.to_path_buf(), file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(CliError::io("locking", &lock_path, &error)),
        }
    }

    /// Listens, 0600. A socket file that is there is stale, since nobody else can hold the lock; it is replaced.
    pub fn listen(&self) -> Result<UnixListener, CliError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(CliError::io("removing the stale socket", &self.path, &error)),
            _ => {}
        }
        let listener = UnixListener::bind(&self.path).map_err(|error| CliError::io("binding the socket", &self.path, &error))?;
        // The umask saw to it already; the folder is closed to others in any case.
        rustix::fs::chmod(&self.path, Mode::RUSR | Mode::WUSR)
            .map_err(|error| CliError::io("closing the socket to others", &self.path, &error.into()))?;
        Ok(listener)
    }

    /// Removes the socket file, so that clients see at once that nobody serves.
    pub fn remove_socket(&self) -> std::io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Holds the right to set up and start a server in the background, so that of two starts at once the second one finds what the
/// first one made. Freed with the process.
#[derive(Debug)]
pub struct StartTurn {
    #[expect(dead_code, reason = "held for its lock")]
    file: File,
}

impl StartTurn {
    /// Waits for the turn.
    pub async fn wait(socket: &Path) -> Result<Self, CliError> {
        check_length(socket)?;
        private_folder(socket.parent().unwrap_or(Path::new("/")))?;
        let path = socket.with_extension("start");
        let file = open_lock(&path)?;
        let clock = SystemClock;
        let give_up = clock.boot() + START_WAIT_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::WouldBlock) if clock.boot() < give_up => clock.sleep(LOOK_EVERY).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(CliError::failed("another start has not come to its end").hint("claviger logs"));
                }
                Err(TryLockError::Error(error)) => return Err(CliError::io("locking", &path, &error)),
            }
        }
    }
}

fn open_lock(path: &Path) -> Result<File, CliError> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).custom_flags(nofollow()).open(path);
    open.map_err(|error| CliError::io("opening", path, &error))
}

/// Whether a process serves on the socket, or is still on its way out.
pub fn is_held(socket: &Path) -> Result<bool, CliError> {
    let lock_path = lock_path(socket);
    let file = match OpenOptions::new().write(true).custom_flags(nofollow()).open(&lock_path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(CliError::io("opening", &lock_path, &error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(CliError::io("locking", &lock_path, &error)),
    }
}

/// Connects; `None` where nobody listens. A socket of another user is refused before a byte is sent.
pub async fn dial(socket: &Path) -> Result<Option<UnixStream>, CliError> {
    check_length(socket)?;
    let owner = match std::fs::symlink_metadata(socket) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::io("looking at the socket", socket, &error)),
    };
    if owner != own_uid() {
        return Err(CliError::refused(format!("{}: the socket belongs to user {owner}", socket.display())).hint("export CLAVIGER_HOME=DIR"));
    }
    match UnixStream::connect(socket).await {
        Ok(stream) if is_own_peer(&stream) => Ok(Some(stream)),
        Ok(_) => Err(CliError::refused(format!("{}: another user serves here", socket.display())).hint("export CLAVIGER_HOME=DIR")),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(CliError::io("connecting to the socket", socket, &error)),
    }
}

/// Whether the other end of a connection runs as this user.
pub fn is_own_peer(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own_uid())
}

/// The user that this process runs as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Creates a folder 0700 with those above it; one that is there must be ours and closed to others.
pub fn private_folder(path: &Path) -> Result<(), CliError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| CliError::io("creating the folder", path, &error))?;
    let metadata = std::fs::symlink_metadata(path).map_err(|error| CliError::io("looking at the folder", path, &error))?;
    if !metadata.is_dir() {
        return Err(CliError::refused(format!("{}: is no folder", path.display())).hint("export CLAVIGER_HOME=DIR"));
    }
    if metadata.uid() != own_uid() {
        return Err(CliError::refused(format!("{}: the folder belongs to user {}", path.display(), metadata.uid()))
            .hint("export CLAVIGER_HOME=DIR"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(CliError::refused(format!("{}: the folder is open to other users", path.display()))
            .hint(format!("chmod 700 {}", path.display())));
    }
    Ok(())
}

fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

fn check_length(socket: &Path) -> Result<(), CliError> {
    if socket.as_os_str().len() <= PATH_MAX_BYTES {
        return Ok(());
    }
    let message = format!("{}: the path is too long for a socket, {PATH_MAX_BYTES} bytes at most", socket.display());
    Err(CliError::usage(message).hint("export CLAVIGER_HOME=DIR, with a shorter path"))
}

fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}
