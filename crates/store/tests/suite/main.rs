//! The promises of a store, for the one on disk and the one in memory.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use claviger_store::{KdfCost, MemoryStore, RootKey, SqliteStore, root_key_file_create};
use claviger_testkit::SimClock;

fn on_disk() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/root.key");
    root_key_file_create(&path).unwrap();
    let store =
        SqliteStore::create_with(&folder.path().join("home"), &RootKey::KeyFile { path }, &SimClock::new(), KdfCost::default()).unwrap();
    (folder, store)
}

fn in_memory() -> ((), MemoryStore) {
    ((), MemoryStore::new())
}

mod sqlite {
    claviger_testkit::store_suite!(super::on_disk);
}

mod memory {
    claviger_testkit::store_suite!(super::in_memory);
}

mod agreement;
