//! Rows under attack: damage, swaps and edits are told apart, name their row, and harm no other.

use crate::{CANARIES, GRANT, Site, api_key, oauth, place, text, texts};
use claviger_domain::id::GrantId;
use claviger_store::{GrantSecret, RowFault, RowFaultKind, Store, StoreError};
use std::collections::BTreeSet;

/// A vault with the login 1, the key 2 and the login 3 that nobody touches.
async fn three_grants() -> Site {
    let site = Site::new();
    let store = site.create();
    place(&store, "a@x.example", oauth()).await;
    place(&store, "b@x.example", api_key()).await;
    let other = GrantSecret::OAuth { access: text("at-other"), refresh: Some(text("rt-other")) };
    place(&store, "c@x.example", other).await;
    store.close().await.unwrap();
    site
}

/// Edits the file, and tells which faults a load then finds. The rows without a fault must be there as they were.
async fn faults_after(edit: &str) -> Vec<RowFault> {
    let site = three_grants().await;
    site.sql(edit);
    let store = site.open();
    let vault = store.load().await.unwrap();
    let untouched = vault.grants.iter().find(|row| row.id == GrantId(3)).expect("the others go on");
    assert_eq!(texts(untouched), ("at-other", Some("rt-other")), "{edit}");
    for fault in vault.faults.iter().filter(|fault| fault.table == "grants") {
        let id = GrantId(fault.row.parse().unwrap());
        assert!(vault.grants.iter().all(|row| row.id != id), "{edit}: a faulty grant is not handed out");
        assert!(matches!(store.grant_load(id).await, Err(StoreError::Row(same)) if same == *fault), "{edit}");
    }
    vault.faults
}

fn fault(row: &str, column: &'static str, kind: RowFaultKind) -> RowFault {
    RowFault { table: "grants", row: row.to_owned(), column, kind }
}

#[tokio::test]
async fn a_moved_field_does_not_open_elsewhere() {
    use RowFaultKind::Swapped;
    let table = [
        (
            "UPDATE grants SET access_token = (SELECT access_token FROM grants WHERE id = 3) WHERE id = 1",
            fault("1", "access_token", Swapped),
        ),
        (
            "UPDATE grants SET refresh_token = (SELECT refresh_token FROM grants WHERE id = 3) WHERE id = 1",
            fault("1", "refresh_token", Swapped),
        ),
        ("UPDATE grants SET access_token = refresh_token WHERE id = 1", fault("1", "access_token", Swapped)),
        ("UPDATE grants SET refresh_token = access_token WHERE id = 1", fault("1", "refresh_token", Swapped)),
        ("UPDATE grants SET kind = 'oauth', access_token = api_key WHERE id = 2", fault("2", "access_token", Swapped)),
        ("UPDATE grants SET kind = 'api_key', api_key = access_token WHERE id = 1", fault("1", "api_key", Swapped)),
    ];
    let runs = table.len() as u64;
    for (edit, expected) in table {
        assert_eq!(faults_after(edit).await, [expected], "{edit}");
    }
    claviger_testkit::proof_row("tampering: fields swapped between rows and columns", runs, runs, "0 opened");
}

#[tokio::test]
async fn an_edit_of_what_a_field_is_bound_to_closes_it() {
    use RowFaultKind::Swapped;
    let origins = |inference: &str, usage: &str, token: &str| {
        format!("UPDATE grants SET origins = 'explicit inference {inference}:443 usage {usage}:443 token {token}:443' WHERE id = 1")
    };
    let table = [
        (origins("https://evil.example", "https://usage.example", "https://auth.example"), fault("1", "access_token", Swapped)),
        (origins("https://api.example", "https://evil.example", "https://auth.example"), fault("1", "access_token", Swapped)),
        (origins("https://api.example", "https://usage.example", "https://evil.example"), fault("1", "refresh_token", Swapped)),
        ("UPDATE grants SET origins = 'builtin' WHERE id = 2".to_owned(), fault("2", "api_key", Swapped)),
        ("UPDATE grants SET revision = 2 WHERE id = 1".to_owned(), fault("1", "access_token", Swapped)),
    ];
    let runs = table.len() as u64;
    for (edit, expected) in table {
        assert_eq!(faults_after(&edit).await, [expected], "{edit}");
    }
    claviger_testkit::proof_row("tampering: origins and revisions edited", runs, runs, "0 opened");
}

#[tokio::test]
async fn a_row_that_was_given_to_another_provider_goes_nowhere() {
    let grant_only = faults_after("UPDATE grants SET provider = 'evil' WHERE id = 1").await;
    let account = RowFault { table: "accounts", row: "1".to_owned(), column: "provider", kind: RowFaultKind::Swapped };
    assert_eq!(grant_only, [fault("1", "access_token", RowFaultKind::Swapped), account.clone()]);
    let both = faults_after("UPDATE grants SET provider = 'evil' WHERE id = 1; UPDATE accounts SET provider = 'evil' WHERE id = 1").await;
    assert_eq!(both, [fault("1", "access_token", RowFaultKind::Swapped)]);
    assert_eq!(faults_after("UPDATE accounts SET provider = 'evil' WHERE id = 1").await, [account]);
}

#[tokio::test]
async fn damage_an_unknown_key_and_an_unreadable_cell_are_told_apart() {
    use RowFaultKind::{Damaged, Malformed, UnknownKey};
    let table = [
        ("UPDATE grants SET access_token = zeroblob(80) WHERE id = 1", fault("1", "access_token", Damaged)),
        ("UPDATE grants SET access_token = x'' WHERE id = 1", fault("1", "access_token", Damaged)),
        ("UPDATE grants SET api_key = CAST(x'0100000009' || substr(api_key, 6) AS BLOB) WHERE id = 2", fault("2", "api_key", UnknownKey)),
        ("UPDATE grants SET access_token = NULL WHERE id = 1", fault("1", "access_token", Malformed)),
        ("UPDATE grants SET kind = 'cookie' WHERE id = 1", fault("1", "kind", Malformed)),
        (
            "UPDATE grants SET provider = 'No Provider' WHERE id = 2; UPDATE accounts SET provider = 'No Provider' WHERE id = 2",
            fault("2", "provider", Malformed),
        ),
        ("UPDATE grants SET origins = 'everywhere' WHERE id = 1", fault("1", "origins", Malformed)),
        ("UPDATE grants SET revision = -1 WHERE id = 1", fault("1", "revision", Malformed)),
        ("UPDATE grants SET dead_since = 5 WHERE id = 1", fault("1", "dead_since", Malformed)),
        ("UPDATE grants SET fingerprint = x'00' WHERE id = 1", fault("1", "fingerprint", Malformed)),
    ];
    for (edit, expected) in table {
        let faults = faults_after(edit).await;
        assert_eq!(faults.first(), Some(&expected), "{edit}");
    }
}

#[tokio::test]
async fn other_tables_name_their_unreadable_rows() {
    let insert_block = "INSERT INTO blocks (account_id, scope, until_at, end, reason) VALUES (1, 'planet:earth', 1, 'told', '')";
    let insert_key =
        "INSERT INTO keys (accessor, kind, digest, providers, accounts, created_at) VALUES ('aaaaaaaaaa', 'run', x'00', '', '', 1)";
    let intent = "INSERT INTO intents (grant_id, from_revision, fingerprint, instance, opened_at) VALUES (1, 1, x'00', zeroblob(16), 1)";
    let table = [
        (insert_block, "blocks", "1", "scope"),
        (insert_key, "keys", "aaaaaaaaaa", "digest"),
        (intent, "intents", "1", "fingerprint"),
        ("UPDATE accounts SET source = 'sky' WHERE id = 2", "accounts", "2", "source"),
        ("UPDATE accounts SET grant_id = 77 WHERE id = 2", "accounts", "2", "grant_id"),
    ];
    for (edit, table, row, column) in table {
        let edit = format!("PRAGMA foreign_keys = OFF; {edit}");
        let expected = RowFault { table, row: row.to_owned(), column, kind: RowFaultKind::Malformed };
        let site = three_grants().await;
        site.sql(&edit);
        assert_eq!(site.open().load().await.unwrap().faults, [expected], "{edit}");
    }
}

#[tokio::test]
async fn a_new_login_heals_a_damaged_row() {
    let site = three_grants().await;
    site.sql("UPDATE grants SET access_token = zeroblob(80) WHERE id = 1");
    let store = site.open();
    let again = place(&store, "a@x.example", GrantSecret::OAuth { access: text("at-new"), refresh: Some(text("rt-new")) }).await;
    assert_eq!(again.grant, GRANT);
    assert_eq!(texts(&store.grant_load(GRANT).await.unwrap().unwrap()), ("at-new", Some("rt-new")));
    assert_eq!(store.load().await.unwrap().faults, []);

    store.close().await.unwrap();
    site.sql("UPDATE grants SET access_token = zeroblob(80) WHERE id = 1");
    let store = site.open();
    place(&store, "a@x.example", GrantSecret::OAuth { access: text("at-new"), refresh: Some(text("rt-new")) }).await;
    assert_eq!(store.load().await.unwrap().faults, [], "the very same login heals it too");
}

/// Numbers of a fixed sequence (Knuth's MMIX generator), so that a failure can be run again.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// What opening and loading a damaged file came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    /// The file was refused as a whole, with an error.
    refused: u64,
    /// Rows were named as faults.
    named: u64,
    /// Nothing that is read was hit.
    sound: u64,
}

#[tokio::test]
async fn no_flip_of_a_byte_of_the_file_gives_a_wrong_secret_or_a_panic() {
    const FLIPS: u64 = 1_000;
    let site = three_grants().await;
    let whole = std::fs::read(site.database()).unwrap();
    let (mut sequence, mut hit) = (Sequence(42), BTreeSet::new());
    let mut ends = Ends::default();
    while hit.len() < usize::try_from(FLIPS).unwrap() {
        let position = sequence.below(whole.len());
        if !hit.insert(position) {
            continue;
        }
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << sequence.below(8);
        std::fs::write(site.database(), &damaged).unwrap();
        for side in ["vault.db-wal", "vault.db-shm"] {
            std::fs::remove_file(site.home().join(side)).ok();
        }
        let Ok(store) = site.try_open() else {
            ends.refused += 1;
            continue;
        };
        match store.load().await {
            Err(_) => ends.refused += 1,
            Ok(vault) => {
                let known = [
                    (CANARIES[0], Some(CANARIES[1])),
                    (CANARIES[0], None),
                    (CANARIES[2], None),
                    ("at-other", Some("rt-other")),
                    ("at-other", None),
                ];
                assert!(vault.grants.iter().all(|row| known.contains(&texts(row))), "byte {position}");
                let faulty = vault.faults.iter().filter(|fault| fault.table == "grants").count();
                assert!(vault.grants.len() + faulty >= 2, "byte {position}: one flip costs one row at most");
                if vault.faults.is_empty() { ends.sound += 1 } else { ends.named += 1 }
            }
        }
        store.close().await.unwrap();
    }
    assert!(ends.refused > 0 && ends.named > 0 && ends.sound > 0, "{ends:?}");
    let Ends { refused, named, sound } = ends;
    let figures = format!("{refused} files refused, {named} rows named, {sound} unread bytes, 0 wrong secrets, 0 panics");
    claviger_testkit::proof_row("damage: one byte of the vault's file flipped", FLIPS, FLIPS, &figures);
}
