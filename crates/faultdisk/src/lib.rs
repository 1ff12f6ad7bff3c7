//! A disk that logs, fails and dies on demand.
//!
//! Put before libc with `LD_PRELOAD`, its functions stand for those of libc that change files. Three variables steer it:
//! `CLAVIGER_FAULTDISK_FOLDER` (absolute: only what lies below it is touched), `CLAVIGER_FAULTDISK_LOG` (where changes are
//! logged) and `CLAVIGER_FAULTDISK_CONTROL` (a file that says which fault is on, read at every change; see `fault`). Without
//! the first, everything passes.
//!
//! One lock is held over each change and its record, so that the log is one order of all threads; no other lock is taken
//! under it. Nothing here calls a libc function that it stands for: everything goes to the kernel itself. Programs that
//! do the same, as `rustix` does, are not seen.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "functions of libc are called by C and take C's pointers")]

mod fault;
mod kernel;
mod record;

use fault::Verdict;
use kernel::{File, fail};
use libc::{c_char, c_int, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t};
use record::Change;
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A name that is removed only to leave a mark in the log: what follows it is the mark's text.
const MARK: &str = "faultdisk-mark-";

struct Watch {
    folder: String,
    /// Guards the log and the fault, and with them the order of all changes.
    state: Mutex<State>,
}

struct State {
    log: record::Log,
    fault: fault::Fault,
}

/// What is watched; `None` where nothing is.
fn watch() -> Option<&'static Watch> {
    static WATCH: OnceLock<Option<Watch>> = OnceLock::new();
    let begin = || {
        let folder = kernel::variable(c"CLAVIGER_FAULTDISK_FOLDER")?;
        let log = record::Log::open(&kernel::variable(c"CLAVIGER_FAULTDISK_LOG")?);
        let fault = fault::Fault::new(kernel::variable(c"CLAVIGER_FAULTDISK_CONTROL"));
        Some(Watch { folder, state: Mutex::new(State { log, fault }) })
    };
    WATCH.get_or_init(begin).as_ref()
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path below the folder, empty for the folder itself.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.folder)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

/// A watched path given by a caller. Relative paths are not watched: nobody who keeps a vault uses them.
fn watched_path(path: *const c_char) -> Option<(&'static Watch, String)> {
    let watch = watch()?;
    // SAFETY: the caller of a libc function gives a string that ends with zero.
    let text = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    watch.below(text).map(|below| (watch, below.to_owned()))
}

/// A watched file behind a descriptor.
fn watched_file(fd: c_int) -> Option<(&'static Watch, String, File)> {
    let watch = watch()?;
    let path = kernel::path_of(fd)?;
    let below = watch.below(&path)?.to_owned();
    Some((watch, below, kernel::stat_of(fd)?))
}

/// Makes one change under the lock: asks for the fault, does it, and logs it where it was done.
fn change<T: Copy + PartialOrd + From<i8>>(
    watch: &Watch,
    what: Change<'_>,
    done: impl FnOnce() -> T,
    logged: impl FnOnce(T, &mut record::Log),
) -> T {
    let mut state = watch.lock();
    match state.fault.verdict(what) {
        Verdict::Pass => {}
        Verdict::Fail(errno) => {
            state.log.push(record::FAULT, (0, u64::from(errno.unsigned_abs())), what.path(), &[]);
            return fail(errno);
        }
        Verdict::Die => kernel::die(),
    }
    let answer = done();
    if answer >= T::from(0) {
        logged(answer, &mut state.log);
    }
    answer
}

fn open_watched(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let really = || kernel::open(dir, path, flags, mode);
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    let Some((watch, below)) = watched_path(path).filter(|_| writes) else { return really() };
    let is_new = !kernel::exists(path);
    let creates = is_new && flags & libc::O_CREAT != 0;
    let what = Change::Open { path: &below, creates };
    change(watch, what, really, |fd, log| {
        if let Some(file) = kernel::stat_of(fd) {
            if creates {
                log.push(record::CREATE, (file.inode, 0), &below, &[]);
            } else if flags & libc::O_TRUNC != 0 {
                log.push(record::TRUNCATE, (file.inode, 0), &below, &[]);
            }
        }
    })
}

/// Writes at an offset, or at the descriptor's own.
fn write_watched(fd: c_int, bytes: *const c_void, count: size_t, at: Option<off_t>) -> ssize_t {
    let really = || kernel::write(fd, bytes, count, at);
    let Some((watch, below, file)) = watched_file(fd) else { return really() };
    let begin = at.or_else(|| kernel::offset_of(fd)).unwrap_or(0);
    let end = begin.saturating_add_unsigned(count as u64);
    let what = Change::Write { path: &below, grows: end > file.size };
    change(watch, what, really, |written, log| {
        let written = usize::try_from(written).unwrap_or(0);
        // SAFETY: the kernel has just read as many bytes from there.
        let data = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), written) };
        log.push(record::WRITE, (file.inode, begin.cast_unsigned()), &below, data);
    })
}

fn truncate_watched(fd: c_int, length: off_t) -> c_int {
    let really = || kernel::truncate(fd, length);
    let Some((watch, below, file)) = watched_file(fd) else { return really() };
    let what = Change::Write { path: &below, grows: length > file.size };
    change(watch, what, really, |_, log| log.push(record::TRUNCATE, (file.inode, length.cast_unsigned()), &below, &[]))
}

fn sync_watched(fd: c_int, data_only: bool) -> c_int {
    let really = || kernel::sync(fd, data_only);
    let Some((watch, below, file)) = watched_file(fd) else { return really() };
    let kind = if file.is_folder { record::SYNC_FOLDER } else { record::SYNC };
    change(watch, Change::Sync { path: &below }, really, |_, log| log.push(kind, (file.inode, 0), &below, &[]))
}

fn remove_watched(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    let really = || kernel::unlink(dir, path, flags);
    let Some((watch, below)) = watched_path(path) else { return really() };
    if let Some((_, text)) = below.split_once(MARK) {
        watch.lock().log.push(record::MARK, (0, 0), text, &[]);
        return fail(libc::ENOENT);
    }
    if !kernel::exists(path) {
        return fail(libc::ENOENT);
    }
    change(watch, Change::Entry { path: &below, creates: false }, really, |_, log| log.push(record::UNLINK, (0, 0), &below, &[]))
}

fn make_folder_watched(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    let really = || kernel::make_folder(dir, path, mode);
    let Some((watch, below)) = watched_path(path) else { return really() };
    if kernel::exists(path) {
        return fail(libc::EEXIST);
    }
    change(watch, Change::Entry { path: &below, creates: true }, really, |_, log| {
        log.push(record::MAKE_FOLDER, (kernel::inode_at(path), 0), &below, &[]);
    })
}

/// Renames or links: two paths, of which the second one appears.
fn two_names_watched(kind: u8, (from, to): (*const c_char, *const c_char), really: impl FnOnce() -> c_int) -> c_int {
    let (Some((watch, old)), Some((_, new))) = (watched_path(from), watched_path(to)) else { return really() };
    change(watch, Change::Entry { path: &new, creates: true }, really, |_, log| log.push(kind, (0, 0), &old, new.as_bytes()))
}

fn mode_watched(path: Option<(&'static Watch, String)>, really: impl FnOnce() -> c_int) -> c_int {
    let Some((watch, below)) = path else { return really() };
    change(watch, Change::Entry { path: &below, creates: false }, really, |_, _| {})
}

/// Defines functions of libc by what stands for them. Where C gives them more arguments by `...`, those arrive in the same
/// registers as named ones on the machines that this runs on (x86-64 and aarch64 Linux).
macro_rules! stands_for {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty = $body:expr;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($arg: $kind),*) -> $answer {
            $body
        }
    )*};
}

const HERE: c_int = libc::AT_FDCWD;

stands_for! {
    open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = open_watched(HERE, path, flags, mode);
    open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = open_watched(HERE, path, flags, mode);
    openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int = open_watched(dir, path, flags, mode);
    openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int = open_watched(dir, path, flags, mode);
    write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t = write_watched(fd, bytes, count, None);
    pwrite(fd: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t = write_watched(fd, bytes, count, Some(at));
    pwrite64(fd: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t = write_watched(fd, bytes, count, Some(at));
    writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t = {
        if watched_file(fd).is_some() {
            // Nobody who keeps a vault gathers writes; were it so, the log would lack them, and this says so.
            kernel::die()
        }
        kernel::write_gathered(fd, parts, count)
    };
    ftruncate(fd: c_int, length: off_t) -> c_int = truncate_watched(fd, length);
    ftruncate64(fd: c_int, length: off_t) -> c_int = truncate_watched(fd, length);
    fsync(fd: c_int) -> c_int = sync_watched(fd, false);
    fdatasync(fd: c_int) -> c_int = sync_watched(fd, true);
    unlink(path: *const c_char) -> c_int = remove_watched(HERE, path, 0);
    unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int = remove_watched(dir, path, flags);
    rmdir(path: *const c_char) -> c_int = remove_watched(HERE, path, libc::AT_REMOVEDIR);
    mkdir(path: *const c_char, mode: mode_t) -> c_int = make_folder_watched(HERE, path, mode);
    mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int = make_folder_watched(dir, path, mode);
    rename(from: *const c_char, to: *const c_char) -> c_int =
        two_names_watched(record::RENAME, (from, to), || kernel::rename((HERE, from), (HERE, to), 0));
    renameat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int =
        two_names_watched(record::RENAME, (from, to), || kernel::rename((from_dir, from), (to_dir, to), 0));
    renameat2(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int =
        two_names_watched(record::RENAME, (from, to), || kernel::rename((from_dir, from), (to_dir, to), flags));
    link(from: *const c_char, to: *const c_char) -> c_int =
        two_names_watched(record::LINK, (from, to), || kernel::link((HERE, from), (HERE, to), 0));
    linkat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int) -> c_int =
        two_names_watched(record::LINK, (from, to), || kernel::link((from_dir, from), (to_dir, to), flags));
    chmod(path: *const c_char, mode: mode_t) -> c_int = mode_watched(watched_path(path), || kernel::chmod(path, mode));
    fchmod(fd: c_int, mode: mode_t) -> c_int =
        mode_watched(watched_file(fd).map(|(watch, below, _)| (watch, below)), || kernel::fchmod(fd, mode));
}
