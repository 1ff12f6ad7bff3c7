//! What opening a vault waits for, and what it leaves alone.

use crate::{Site, oauth, place};
use claviger_store::{Store, StoreError};

#[tokio::test]
async fn a_second_opening_writes_nothing() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    store.close().await.unwrap();
    let before = std::fs::read(site.database()).unwrap();
    for _twice in 0..2 {
        let store = site.open();
        assert_eq!(store.load().await.unwrap().accounts.len(), 1);
        let wal = site.home().join("vault.db-wal");
        assert_eq!(std::fs::metadata(&wal).map_or(0, |file| file.len()), 0, "nothing waits to be written");
        store.close().await.unwrap();
        assert!(std::fs::read(site.database()).unwrap() == before, "the file has changed");
    }
}

#[tokio::test]
async fn a_writer_that_never_ends_holds_nobody_up_who_opens_and_reads() {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    store.close().await.unwrap();
    let writer = rusqlite::Connection::open(site.database()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE accounts SET label = 'unfinished'").unwrap();
    let store = site.open();
    assert_eq!(store.load().await.unwrap().accounts[0].label, None);
    writer.execute_batch("ROLLBACK").unwrap();
    drop(writer);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_said_at_once_and_left_alone() {
    let site = Site::new();
    site.create().close().await.unwrap();
    let text = b"no database at all, and long enough to be taken for one at the first look".repeat(20);
    std::fs::write(site.database(), &text).unwrap();
    let error = site.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error:?}");
    assert!(std::fs::read(site.database()).unwrap() == text);
}
