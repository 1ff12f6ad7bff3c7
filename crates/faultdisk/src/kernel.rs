//! What is asked of the kernel itself, past libc's functions that this crate stands for.

use libc::{c_char, c_int, c_long, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t};
use std::ffi::{CStr, CString};

/// What is known of an open file.
#[derive(Clone, Copy)]
pub(crate) struct File {
    pub(crate) inode: u64,
    pub(crate) size: off_t,
    pub(crate) is_folder: bool,
}

/// Calls the kernel by `syscall(2)`, which sets `errno` as the function that it stands for would.
macro_rules! call {
    ($number:ident $(, $arg:expr)*) => {
        // SAFETY: the arguments are those of the system call, as a caller of libc gave them or as they stand here.
        unsafe { libc::syscall(libc::$number $(, $arg)*) }
    };
}

fn int(answer: c_long) -> c_int {
    c_int::try_from(answer).unwrap_or(-1)
}

fn size(answer: c_long) -> ssize_t {
    ssize_t::try_from(answer).unwrap_or(-1)
}

/// Fails as libc does: sets `errno` and gives -1.
pub(crate) fn fail<T: From<i8>>(errno: c_int) -> T {
    // SAFETY: `errno` of this thread is always there.
    unsafe { *libc::__errno_location() = errno };
    T::from(-1)
}

/// Ends the process as a power cut would: nothing more of it happens.
pub(crate) fn die() -> ! {
    let own = call!(SYS_getpid);
    loop {
        call!(SYS_kill, own, libc::SIGKILL);
    }
}

/// A variable of the environment. Read by libc's own function, since std may not be ready yet.
pub(crate) fn variable(name: &CStr) -> Option<String> {
    // SAFETY: the name ends with zero; nobody changes the environment of a worker.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: libc gives a string that ends with zero.
    unsafe { CStr::from_ptr(value) }.to_str().ok().map(str::to_owned)
}

pub(crate) fn open(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    int(call!(SYS_openat, dir, path, flags, mode))
}

/// Opens a file of this crate's own.
pub(crate) fn open_own(path: &str, flags: c_int) -> Option<c_int> {
    let path = CString::new(path).ok()?;
    Some(open(libc::AT_FDCWD, path.as_ptr(), flags | libc::O_CLOEXEC, 0o600)).filter(|fd| *fd >= 0)
}

pub(crate) fn close(fd: c_int) {
    call!(SYS_close, fd);
}

pub(crate) fn read(fd: c_int, bytes: &mut [u8]) -> usize {
    usize::try_from(call!(SYS_read, fd, bytes.as_mut_ptr(), bytes.len())).unwrap_or(0)
}

pub(crate) fn write(fd: c_int, bytes: *const c_void, count: size_t, at: Option<off_t>) -> ssize_t {
    size(match at {
        None => call!(SYS_write, fd, bytes, count),
        Some(at) => call!(SYS_pwrite64, fd, bytes, count, at),
    })
}

pub(crate) fn write_gathered(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    size(call!(SYS_writev, fd, parts, count))
}

pub(crate) fn truncate(fd: c_int, length: off_t) -> c_int {
    int(call!(SYS_ftruncate, fd, length))
}

pub(crate) fn sync(fd: c_int, data_only: bool) -> c_int {
    int(if data_only { call!(SYS_fdatasync, fd) } else { call!(SYS_fsync, fd) })
}

pub(crate) fn unlink(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    int(call!(SYS_unlinkat, dir, path, flags))
}

pub(crate) fn make_folder(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    int(call!(SYS_mkdirat, dir, path, mode))
}

pub(crate) fn rename(from: (c_int, *const c_char), to: (c_int, *const c_char), flags: c_uint) -> c_int {
    int(call!(SYS_renameat2, from.0, from.1, to.0, to.1, flags))
}

pub(crate) fn link(from: (c_int, *const c_char), to: (c_int, *const c_char), flags: c_int) -> c_int {
    int(call!(SYS_linkat, from.0, from.1, to.0, to.1, flags))
}

pub(crate) fn chmod(path: *const c_char, mode: mode_t) -> c_int {
    int(call!(SYS_fchmodat, libc::AT_FDCWD, path, mode))
}

pub(crate) fn fchmod(fd: c_int, mode: mode_t) -> c_int {
    int(call!(SYS_fchmod, fd, mode))
}

pub(crate) fn exists(path: *const c_char) -> bool {
    call!(SYS_faccessat, libc::AT_FDCWD, path, libc::F_OK) == 0
}

/// The inode that a path leads to; 0 where there is none.
pub(crate) fn inode_at(path: *const c_char) -> u64 {
    let fd = open(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC, 0);
    let inode = stat_of(fd).map_or(0, |file| file.inode);
    close(fd);
    inode
}

pub(crate) fn stat_of(fd: c_int) -> Option<File> {
    // SAFETY: a `stat` of zeros is one, and libc writes one.
    let (answer, stat) = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &raw mut stat), stat)
    };
    let file = File { inode: stat.st_ino, size: stat.st_size, is_folder: stat.st_mode & libc::S_IFMT == libc::S_IFDIR };
    (answer == 0).then_some(file)
}

pub(crate) fn offset_of(fd: c_int) -> Option<off_t> {
    let at = call!(SYS_lseek, fd, 0, libc::SEEK_CUR);
    off_t::try_from(at).ok().filter(|at| *at >= 0)
}

/// The path of an open file.
pub(crate) fn path_of(fd: c_int) -> Option<String> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut path = vec![0_u8; 4096];
    let length = call!(SYS_readlinkat, libc::AT_FDCWD, link.as_ptr(), path.as_mut_ptr(), path.len());
    path.truncate(usize::try_from(length).ok()?);
    String::from_utf8(path).ok()
}
