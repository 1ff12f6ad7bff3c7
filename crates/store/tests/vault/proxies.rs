//! The proxy of an account may hold a password: it is sealed like a token, and an account is never handed out without the one it has.

use crate::{NOW, Site, draft, text};
use claviger_domain::id::AccountId;
use claviger_domain::options::{AccountOptions, ProxyUrl};
use claviger_store::{AccountDraft, AccountPatch, GrantSecret, RowFault, RowFaultKind, SqliteStore, Store};
use claviger_testkit::leak::canary_search;

const PASSWORD: &str = "canary-proxy-password-0001";

fn proxy(number: usize) -> ProxyUrl {
    format!("socks5://me:{PASSWORD}-{number}@proxy.example:1080").parse().unwrap()
}

/// A vault with accounts, each with a proxy of its own.
async fn proxied(accounts: usize) -> (Site, SqliteStore) {
    let site = Site::new();
    let store = site.create();
    for number in 1..=accounts {
        let key = GrantSecret::ApiKey { key: text(&format!("sk-test-{number}")) };
        let options = AccountOptions { proxy: Some(proxy(number)), ..AccountOptions::default() };
        let draft = AccountDraft { options, ..draft(&format!("{number}@x.example"), key) };
        store.account_place(draft, NOW).await.unwrap();
    }
    (site, store)
}

#[tokio::test]
async fn no_password_of_a_proxy_stands_in_any_file() {
    let (site, store) = proxied(2).await;
    let row = store.load().await.unwrap().accounts.remove(0);
    let patch = AccountPatch { priority: Some(3), ..AccountPatch::default() };
    store.account_patch(row.id, row.revision, patch, NOW).await.unwrap();
    for closed in [false, true] {
        if closed {
            store.close().await.unwrap();
        }
        let names = std::fs::read_dir(site.home()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let all: Vec<u8> = names.flat_map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(canary_search(&all, &[PASSWORD]), [], "closed: {closed}");
    }
    let row = site.open().load().await.unwrap().accounts.remove(0);
    assert_eq!((row.options.proxy, row.priority), (Some(proxy(1)), 3), "a change of the row seals it anew");
}

#[tokio::test]
async fn a_proxy_of_another_account_does_not_open_and_its_account_is_not_handed_out() {
    use RowFaultKind::{Damaged, Swapped};
    for (edit, kind) in [
        ("UPDATE accounts SET proxy = (SELECT proxy FROM accounts WHERE id = 2) WHERE id = 1", Swapped),
        ("UPDATE accounts SET proxy = zeroblob(81) WHERE id = 1", Damaged),
    ] {
        let (site, store) = proxied(2).await;
        store.close().await.unwrap();
        site.sql(edit);
        let vault = site.open().load().await.unwrap();
        assert_eq!(vault.faults, [RowFault { table: "accounts", row: "1".to_owned(), column: "proxy", kind }], "{edit}");
        assert_eq!(vault.accounts.iter().map(|row| row.id).collect::<Vec<_>>(), [AccountId(2)], "{edit}");
    }
}

#[tokio::test]
async fn a_rotation_of_the_data_key_seals_proxies_anew_and_keeps_the_key_of_one_that_does_not_open() {
    let (site, store) = proxied(40).await;
    let rotated = store.data_key_rotate(NOW).await.unwrap();
    assert_eq!((rotated.retired, rotated.unopened), (vec![1], vec![]));
    assert_eq!(rotated.resealed, 40 * 2 + 2, "keys, proxies, and the two keys of keyed hashes");
    for store in [&store, &site.open()] {
        let vault = store.load().await.unwrap();
        assert_eq!(vault.faults, []);
        assert!(vault.accounts.iter().zip(1..).all(|(row, number)| row.options.proxy == Some(proxy(number)) && row.revision.0 == 1));
    }
    store.close().await.unwrap();
    site.sql("UPDATE accounts SET proxy = (SELECT proxy FROM accounts WHERE id = 2) WHERE id = 1");
    let store = site.open();
    let rotated = store.data_key_rotate(NOW).await.unwrap();
    assert_eq!((rotated.retired.len(), rotated.kept.len(), rotated.unopened.len()), (0, 1, 1));
    assert_eq!(rotated.kept[0].fields, 1);
}
