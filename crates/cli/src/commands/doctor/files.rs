//! Who owns the files and who else may look into them.

use super::{Finding, Verdict};
use crate::env::Paths;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bits that let anybody but the owner in.
const OTHERS: u32 = 0o077;
/// Bits that let anybody but the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// Most entries of a folder that are looked at: a data folder has a dozen, its locks and slots one for each grant.
const ENTRIES_MAX: usize = 10_000;

/// Looks at the data folder, the key file and the configuration.
pub fn look(paths: &Paths) -> Vec<Finding> {
    let mut findings = home(&paths.home);
    findings.extend(master_key(&paths.master_key, &paths.home));
    findings.extend(mirrors(paths.mirrors.as_deref()));
    findings.extend(settings(paths));
    findings
}

/// Whoever can write the mirror decides whether a copy of the vault is noticed. It need not be there.
fn mirrors(folder: Option<&Path>) -> Option<Finding> {
    let folder = folder?;
    private("mirror", folder, &std::fs::symlink_metadata(folder).ok()?)
}

fn home(home: &Path) -> Vec<Finding> {
    let metadata = match std::fs::symlink_metadata(home) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return vec![Finding::fail("home", format!("{} is not there", home.display()), "claviger init")];
        }
        Err(error) => return vec![unreadable("home", home, &error)],
    };
    if !metadata.is_dir() {
        return vec![Finding::fail("home", format!("{} is no folder", home.display()), "export CLAVIGER_HOME=DIR")];
    }
    let mut findings = Vec::new();
    findings.extend(private("home", home, &metadata));
    below(home, &mut findings);
    for folder in ["locks", "spill", "backups"] {
        let folder = home.join(folder);
        if folder.is_dir() {
            below(&folder, &mut findings);
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("home", format!("{} and what is in it are yours alone", home.display())));
    }
    findings
}

fn below(folder: &Path, findings: &mut Vec<Finding>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return findings.push(unreadable("home", folder, &error)),
    };
    for entry in entries.take(ENTRIES_MAX) {
        match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
            Ok((path, metadata)) => findings.extend(private("home", &path, &metadata)),
            // A lock, a slot or a part of the database may go while we look.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => findings.push(unreadable("home", folder, &error)),
        }
    }
}

fn master_key(key: &Path, home: &Path) -> Vec<Finding> {
    let metadata = match std::fs::symlink_metadata(key) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return vec![Finding::ok(
                "key file",
                format!("{} is not there: a passphrase or the keyring opens the vault, if there is one", key.display()),
            )];
        }
        Err(error) => return vec![unreadable("key file", key, &error)],
    };
    let mut findings: Vec<Finding> = private("key file", key, &metadata).into_iter().collect();
    let folder = key.parent().and_then(|folder| Some((folder, std::fs::metadata(folder).ok()?)));
    findings.extend(folder.and_then(|(folder, metadata)| private("key file", folder, &metadata)));
    if key.starts_with(home) {
        let detail = format!("{} lies in the folder of the vault: one copy of that folder has both", key.display());
        findings.push(Finding {
            verdict: Verdict::Warn,
            ..Finding::fail("key file", detail, "export CLAVIGER_CONFIG=FILE, in another folder")
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok("key file", format!("{} is yours alone", key.display())));
    }
    findings
}

/// The configuration says where credentials are sent: others may read it, and never write it.
fn settings(paths: &Paths) -> Vec<Finding> {
    let mut places = vec![paths.config_file.clone(), paths.providers_dir.clone()];
    if let Ok(entries) = std::fs::read_dir(&paths.providers_dir) {
        places.extend(entries.take(ENTRIES_MAX).filter_map(Result::ok).map(|entry| entry.path()));
    }
    let looked = places.iter().filter_map(|path| std::fs::metadata(path).ok().map(|metadata| (path, metadata)));
    looked.filter_map(|(path, metadata)| owned("configuration files", path, &metadata, OTHERS_WRITE, "be written")).collect()
}

fn private(check: &'static str, path: &Path, metadata: &Metadata) -> Option<Finding> {
    if metadata.is_symlink() {
        return Some(Finding::warn(check, format!("{} is a symbolic link", path.display()), "put the file itself there"));
    }
    owned(check, path, metadata, OTHERS, "be opened")
}

fn owned(check: &'static str, path: &Path, metadata: &Metadata, forbidden: u32, what: &str) -> Option<Finding> {
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us && !(forbidden == OTHERS_WRITE && metadata.uid() == 0) {
        let detail = format!("{} belongs to user {}, and this is user {us}", path.display(), metadata.uid());
        return Some(Finding::fail(check, detail, format!("sudo chown {us} {}", path.display())));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden == 0 {
        return None;
    }
    let detail = format!("{} can {what} by others (mode {mode:04o})", path.display());
    let letters = if forbidden == OTHERS { "go=" } else { "go-w" };
    Some(Finding::fail(check, detail, format!("chmod {letters} {}", path.display())))
}

fn unreadable(check: &'static str, path: &Path, error: &std::io::Error) -> Finding {
    Finding::fail(check, format!("{} cannot be looked at: {error}", path.display()), format!("ls -ld {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    fn chmod(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn laid_out() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let (home, settings) = (root.path().join("home"), root.path().join("settings"));
        for folder in [&home, &settings, &home.join("spill")] {
            std::fs::create_dir_all(folder).unwrap();
            chmod(folder, 0o700);
        }
        for file in [home.join("vault.db"), settings.join("master.key"), settings.join("config.toml")] {
            std::fs::write(&file, "").unwrap();
            chmod(&file, 0o600);
        }
        let paths = Paths {
            socket: home.join("admin.sock"),
            config_file: settings.join("config.toml"),
            providers_dir: settings.join("providers.d"),
            master_key: settings.join("master.key"),
            mirrors: Some(root.path().join("state")),
            log_file: home.join("claviger.log"),
            home,
        };
        (root, paths)
    }

    fn bad(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().filter(|finding| finding.verdict != Verdict::Ok).map(|finding| finding.check).collect()
    }

    #[test]
    fn files_that_are_ours_alone_are_fine() {
        let (_root, paths) = laid_out();
        assert_eq!(bad(&look(&paths)), [""; 0]);
    }

    #[test]
    fn whatever_others_may_open_is_found_with_the_command_that_closes_it() {
        let (_root, paths) = laid_out();
        chmod(&paths.home.join("vault.db"), 0o644);
        std::fs::write(paths.home.join("spill/slot"), "").unwrap();
        chmod(&paths.home.join("spill/slot"), 0o640);
        chmod(&paths.master_key, 0o604);
        let findings = look(&paths);
        assert_eq!(bad(&findings), ["home", "home", "key file"]);
        let hint = format!("chmod go= {}", paths.master_key.display());
        assert_eq!(findings.last().and_then(|finding| finding.hint.as_deref()), Some(hint.as_str()));
    }

    #[test]
    fn a_folder_of_the_key_file_that_others_may_open_is_found() {
        let (_root, paths) = laid_out();
        chmod(paths.master_key.parent().unwrap(), 0o755);
        assert_eq!(bad(&look(&paths)), ["key file"]);
    }

    #[test]
    fn a_configuration_that_others_write_fails_and_one_that_they_read_does_not() {
        let (_root, paths) = laid_out();
        chmod(&paths.config_file, 0o644);
        assert_eq!(bad(&look(&paths)), [""; 0]);
        chmod(&paths.config_file, 0o664);
        assert_eq!(bad(&look(&paths)), ["configuration files"]);
    }

    #[test]
    fn a_folder_of_the_mirror_that_others_may_open_is_found() {
        let (root, paths) = laid_out();
        std::fs::create_dir(root.path().join("state")).unwrap();
        chmod(&root.path().join("state"), 0o755);
        assert_eq!(bad(&look(&paths)), ["mirror"]);
    }

    #[test]
    fn a_home_that_is_not_there_names_init() {
        let (_root, mut paths) = laid_out();
        paths.home = paths.home.join("gone");
        let findings = look(&paths);
        assert_eq!(findings.first().and_then(|finding| finding.hint.as_deref()), Some("claviger init"));
    }

    #[test]
    fn a_key_file_beside_the_vault_is_a_warning() {
        let (_root, mut paths) = laid_out();
        std::fs::rename(&paths.master_key, paths.home.join("master.key")).unwrap();
        paths.master_key = paths.home.join("master.key");
        assert_eq!(bad(&look(&paths)), ["key file"]);
    }
}
