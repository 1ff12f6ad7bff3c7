//! Items of the keychain of macOS that another tool keeps: read by the command that the tool itself reads them with, so that
//! the system asks nobody. Named like a file, `keychain:SERVICE`, so that they are followed like one.

use std::path::Path;
use std::path::PathBuf;

/// What stands before the name of an item.
const SCHEME: &str = "keychain:";

/// The name of an item in the place of a path.
#[cfg(any(target_os = "macos", test))]
pub(super) fn place(service: &str) -> PathBuf {
    PathBuf::from(format!("{SCHEME}{service}"))
}

/// The item that a path names, where it names none of a file.
pub fn keychain_item(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix(SCHEME)
}

/// The place of an item, where this system has a keychain.
#[cfg(not(target_os = "macos"))]
pub(super) fn place_here(_service: &str) -> Option<PathBuf> {
    None
}

/// The place of an item, where this system has a keychain.
#[cfg(target_os = "macos")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
pub(super) fn place_here(service: &str) -> Option<PathBuf> {
    Some(place(service))
}

/// The value of an item. Blocks until the system answers, which may be a person at a prompt.
#[cfg(target_os = "macos")]
pub(super) fn read(service: &str) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
    use std::io::{Error, ErrorKind};
    let asked = std::process::Command::new("/usr/bin/security")
        .args(["find-generic-password", "-s", service, "-w"])
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .output()?;
    let value = zeroize::Zeroizing::new(asked.stdout);
    if asked.status.success() {
        return Ok(value);
    }
    // errSecItemNotFound, as the command says it.
    let kind = if asked.status.code() == Some(44) { ErrorKind::NotFound } else { ErrorKind::PermissionDenied };
    Err(Error::new(kind, "the keychain does not give it"))
}

/// The value of an item.
#[cfg(not(target_os = "macos"))]
pub(super) fn read(_service: &str) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, "this system has no keychain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_named_like_a_file_and_no_file_like_an_item() {
        assert_eq!(keychain_item(&place("A b")), Some("A b"));
        assert_eq!(keychain_item(Path::new("/home/a/keychain:x")), None);
    }
}
