//! Promises about what is not a row: locks, spill slots, the end.

use super::{later, place_first};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision};
use claviger_store::{RowFault, RowFaultKind, SPILL_BODY_MAX_BYTES, SPILL_HEADER_MAX_BYTES, SpillRecord, Store, StoreError};
use zeroize::Zeroizing;

const GRANT: GrantId = GrantId(1);
const FROM: GrantRevision = GrantRevision(3);
const ATTEMPT: AttemptId = AttemptId(0xabc);

fn record(body: Vec<u8>) -> SpillRecord {
    SpillRecord {
        status: 200,
        date: Some("Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
        retry_after: None,
        content_type: Some(String::new()),
        sent_at: later(1),
        body: Zeroizing::new(body),
    }
}

pub async fn a_lock_excludes_a_second_one_until_it_is_dropped(store: &dyn Store) {
    let held = store.grant_lock(GRANT).unwrap().expect("nobody holds it");
    assert!(store.grant_lock(GRANT).unwrap().is_none());
    let other = store.grant_lock(GrantId(2)).unwrap();
    assert!(other.is_some(), "another grant has another lock");
    store.load().await.expect("a lock is in nobody's way");
    drop(held);
    assert!(store.grant_lock(GRANT).unwrap().is_some());
}

pub async fn an_answer_comes_back_out_of_its_slot(store: &dyn Store) {
    store.spill_create(GRANT, FROM, ATTEMPT).await.unwrap();
    assert!(matches!(store.spill_create(GRANT, FROM, ATTEMPT).await, Err(StoreError::Exists { .. })), "a slot is made once");
    store.spill_write(GRANT, FROM, ATTEMPT, record(b"{\"access_token\":\"at-2\"}\0\xff".to_vec())).await.unwrap();
    let back = store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().unwrap();
    let expected = record(b"{\"access_token\":\"at-2\"}\0\xff".to_vec());
    assert_eq!((back.status, back.sent_at, &*back.body), (expected.status, expected.sent_at, &*expected.body));
    assert_eq!((back.date, back.retry_after, back.content_type), (expected.date, expected.retry_after, expected.content_type));

    let long = SpillRecord { date: Some("ä".repeat(SPILL_HEADER_MAX_BYTES)), ..record(Vec::new()) };
    store.spill_write(GRANT, FROM, ATTEMPT, long).await.unwrap();
    let back = store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().unwrap();
    assert_eq!(back.date.unwrap(), "ä".repeat(SPILL_HEADER_MAX_BYTES / 2), "a long header is cut, the answer is kept");
    assert!(back.body.is_empty());

    assert_eq!(store.spill_list().await.unwrap(), [ATTEMPT]);
    store.spill_remove(ATTEMPT).await.unwrap();
    store.spill_remove(ATTEMPT).await.unwrap();
    assert_eq!(store.spill_list().await.unwrap(), []);
}

pub async fn an_answer_opens_for_its_own_grant_and_revision_only(store: &dyn Store) {
    store.spill_create(GRANT, FROM, ATTEMPT).await.unwrap();
    store.spill_write(GRANT, FROM, ATTEMPT, record(b"{}".to_vec())).await.unwrap();
    for (grant, from) in [(GrantId(2), FROM), (GRANT, FROM.next())] {
        let error = store.spill_read(grant, from, ATTEMPT).await.unwrap_err();
        let StoreError::Row(fault) = error else { panic!("{error:?}") };
        let expected = RowFault { table: "spill", row: format!("{grant}/{ATTEMPT}"), column: "answer", kind: RowFaultKind::Swapped };
        assert_eq!(fault, expected);
    }
}

pub async fn a_slot_without_an_answer_is_no_answer(store: &dyn Store) {
    assert!(store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().is_none(), "no slot");
    assert!(store.spill_write(GRANT, FROM, ATTEMPT, record(b"{}".to_vec())).await.is_err(), "an answer needs a slot");
    store.spill_create(GRANT, FROM, ATTEMPT).await.unwrap();
    assert!(store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().is_none(), "an empty slot");
}

pub async fn a_slot_that_holds_anything_is_not_empty(store: &dyn Store) {
    assert!(store.spill_is_empty(ATTEMPT).await.unwrap(), "no slot");
    store.spill_create(GRANT, FROM, ATTEMPT).await.unwrap();
    assert!(store.spill_is_empty(ATTEMPT).await.unwrap());
    store.spill_write(GRANT, FROM, ATTEMPT, record(Vec::new())).await.unwrap();
    assert!(!store.spill_is_empty(ATTEMPT).await.unwrap());
}

pub async fn a_slot_holds_64_kib_and_no_more(store: &dyn Store) {
    store.spill_create(GRANT, FROM, ATTEMPT).await.unwrap();
    let over = store.spill_write(GRANT, FROM, ATTEMPT, record(vec![b'x'; SPILL_BODY_MAX_BYTES + 1])).await;
    assert!(matches!(over, Err(StoreError::Io { .. })), "{over:?}");
    assert!(store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().is_none());
    let longest = "é".repeat(SPILL_HEADER_MAX_BYTES);
    let full = SpillRecord {
        date: Some(longest.clone()),
        retry_after: Some(longest.clone()),
        content_type: Some(longest),
        ..record(vec![b'x'; SPILL_BODY_MAX_BYTES])
    };
    store.spill_write(GRANT, FROM, ATTEMPT, full).await.unwrap();
    assert_eq!(store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().unwrap().body.len(), SPILL_BODY_MAX_BYTES);
}

pub async fn a_closed_store_refuses_all_but_slots(store: &dyn Store) {
    place_first(store).await;
    store.spill_create(GRANT, FROM, ATTEMPT).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.load().await, Err(StoreError::Closed)));
    assert!(matches!(store.version().await, Err(StoreError::Closed)));
    assert!(matches!(store.close().await, Err(StoreError::Closed)));
    store.spill_write(GRANT, FROM, ATTEMPT, record(b"{}".to_vec())).await.expect("an answer that is still on its way is kept");
    assert!(store.spill_read(GRANT, FROM, ATTEMPT).await.unwrap().is_some());
}
