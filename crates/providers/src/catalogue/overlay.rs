//! The user's files: `providers.d/*.toml`, and entries that extend another one.

use super::fault::Faults;
use super::place::{Place, PlaceFile};
use super::tree::{self, Node, Value};
use claviger_domain::origin::Origins;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes of one file: far more than all built-in entries together.
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// Most files of a folder, so that a wrong path does not read a whole disk.
const FILES_MAX: usize = 256;
/// Longest chain of entries that extend one another.
const EXTENDS_MAX: usize = 8;

/// What an entry does not take over from the one that it extends: names, what is unique, and above all the environment
/// variables and every address beside the base: a credential of one provider must not reach another one's origin.
const NOT_EXTENDED: [&str; 13] = [
    "name",
    "aliases",
    "default_dialects",
    "env",
    "oauth_env",
    "usage",
    "login",
    "hook_urls",
    "inference_origins",
    "unsupported",
    "notes",
    "verified_live",
    "extends",
];

/// The entries of all files of a folder, later files merged over earlier ones.
pub(super) fn read(folder: &Path, faults: &Faults) -> BTreeMap<String, Node> {
    let mut entries: BTreeMap<String, Node> = BTreeMap::new();
    for path in files(folder, faults) {
        let file = PlaceFile::File(Arc::new(path.clone()));
        match read_text(&path) {
            Ok(text) => tree::merge_all(&mut entries, tree::providers(&file, &text, faults)),
            Err(problem) => faults.add(&Place::whole(&file), "", problem),
        }
    }
    entries
}

/// Replaces every entry that says `extends` by the extended one with its own keys over it.
pub(super) fn extend(
    written: &BTreeMap<String, Node>,
    built_in: &BTreeMap<String, Option<Origins>>,
    faults: &Faults,
) -> BTreeMap<String, Node> {
    let mut resolved = BTreeMap::new();
    for (id, node) in written {
        let mut chain = vec![(id.as_str(), node)];
        let complete = loop {
            let Some((id, node)) = chain.last().copied() else { break false };
            let Some(extends) = node.child("extends") else { break true };
            let key = format!("providers.{id}.extends");
            let base = match &extends.value {
                Value::Text(name) => written.get_key_value(name),
                _ => None,
            };
            let problem = match base {
                _ if built_in.contains_key(id) => "a built-in provider extends none; its keys are changed directly",
                None => "the id of a provider is expected",
                Some((base, _)) if chain.iter().any(|(id, _)| id == base) => "extends itself",
                Some(_) if chain.len() >= EXTENDS_MAX => "the chain is too long",
                Some((base, node)) => {
                    chain.push((base, node));
                    continue;
                }
            };
            faults.add(&extends.at, &key, problem);
            break false;
        };
        if complete {
            resolved.insert(id.clone(), flatten(&chain));
        }
    }
    resolved
}

/// The last of the chain, with each earlier one over it.
fn flatten(chain: &[(&str, &Node)]) -> Node {
    let mut nodes = chain.iter().rev().map(|(_, node)| (*node).clone());
    let mut merged = nodes.next().expect("a chain begins with the entry itself");
    for node in nodes {
        if let Value::Table(fields) = &mut merged.value {
            fields.retain(|key, _| !NOT_EXTENDED.contains(&key.as_str()));
        }
        merged.merge(node);
    }
    if let Value::Table(fields) = &mut merged.value {
        fields.remove("extends");
    }
    merged
}

fn files(folder: &Path, faults: &Faults) -> Vec<PathBuf> {
    let place = Place::whole(&PlaceFile::File(Arc::new(folder.to_owned())));
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            faults.add(&place, "", format!("cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for item in listing {
        match item {
            Ok(item) if item.path().extension().is_some_and(|extension| extension == "toml") => paths.push(item.path()),
            Ok(_) => {}
            Err(error) => faults.add(&place, "", format!("cannot be read: {error}")),
        }
    }
    if paths.len() > FILES_MAX {
        faults.add(&place, "", format!("more than {FILES_MAX} files"));
    }
    paths.sort();
    paths
}

fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe would be waited for, by a running server too.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("cannot be read: it is no regular file".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_MAX_BYTES { Err(format!("longer than {FILE_MAX_BYTES} bytes")) } else { Ok(text) }
}
