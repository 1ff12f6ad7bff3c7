//! Another program on the file that reads for ever.

use crate::{FIRST, Site, oauth, place};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_store::{StickyRow, Store};
use claviger_testkit::proof_row;

/// What the WAL may have once no reader holds it back: `journal_size_limit` of the connection.
const WAL_LEFT_MAX_BYTES: u64 = 4 * 1024 * 1024;

#[tokio::test]
async fn a_reader_that_never_ends_stops_no_write_and_the_wal_is_small_again_after_it() {
    let site = Site::new();
    let store = site.create();
    let login = place(&store, "a@x.example", oauth()).await;
    let reader = rusqlite::Connection::open(site.database()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let seen: i64 = reader.query_row("SELECT count(*) FROM sticky", [], |row| row.get(0)).unwrap();
    let wal = || std::fs::metadata(site.home().join("vault.db-wal")).unwrap().len();
    let mut writes = 0;
    while wal() < 3 * WAL_LEFT_MAX_BYTES {
        sticky(&store, login.account, writes).await;
        writes += 1;
        assert!(writes < 2000, "the reader holds the WAL back: {} bytes", wal());
    }
    let most = wal();
    assert_eq!(reader.query_row("SELECT count(*) FROM sticky", [], |row| row.get::<_, i64>(0)).unwrap(), seen);
    assert_eq!(store.grant_load(login.grant).await.unwrap().unwrap().revision, FIRST, "rows are read beside the reader");
    reader.execute_batch("COMMIT").unwrap();
    // The first commit after the reader's end checkpoints; the next one begins the WAL anew.
    for write in 0..2 {
        sticky(&store, login.account, writes + write).await;
    }
    assert!(wal() <= WAL_LEFT_MAX_BYTES, "{} bytes are left", wal());
    let worst = format!("{:.1} MiB with the reader, {:.1} MiB after it", mebibytes(most), mebibytes(wal()));
    proof_row("storage: a reader that never ends", writes, writes, &worst);
}

#[expect(clippy::cast_precision_loss, reason = "a figure with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

async fn sticky(store: &claviger_store::SqliteStore, account: AccountId, round: u64) {
    let row = |n| StickyRow { provider: ProviderId::new("acme").unwrap(), session: round * 512 + n, account, used_at: crate::NOW };
    let rows = (0..512).map(row).collect();
    store.sticky_put(rows).await.unwrap();
}
