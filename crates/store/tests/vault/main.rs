//! What only a vault on disk promises: its key, its files, its rows under attack, its other processes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod files;
mod guard;
mod keys;
mod opening;
mod processes;
mod proxies;
mod readers;
mod rewrap;
mod rotation;
mod tampering;
mod torn;

use claviger_domain::credential::{Custody, Source, Standing};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision, ProviderId};
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::origin::{Origins, StoredOrigins};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_store::{
    AccountDraft, GrantDraft, GrantRow, GrantSecret, KdfCost, Placed, RootKey, SpillRecord, SqliteStore, Store, StoreError,
    root_key_file_create,
};
use claviger_testkit::SimClock;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tempfile::TempDir;

/// Secrets that stand nowhere but in sealed fields.
const CANARIES: [&str; 4] = ["canary-access-token-0001", "canary-refresh-token-0001", "canary-api-key-0000001", "canary-passphrase-0001"];
const CHEAP: KdfCost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };
const NOW: Timestamp = claviger_testkit::SIM_START;

/// A folder with a vault and its key file.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        root_key_file_create(&site.key_path()).unwrap();
        site
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn database(&self) -> PathBuf {
        self.home().join("vault.db")
    }

    fn key_path(&self) -> PathBuf {
        self.folder.path().join("keys/root.key")
    }

    fn root(&self) -> RootKey {
        RootKey::KeyFile { path: self.key_path() }
    }

    fn create(&self) -> SqliteStore {
        SqliteStore::create(&self.home(), &self.root(), &SimClock::new()).unwrap()
    }

    fn try_open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.home(), &self.root(), &SimClock::new())
    }

    fn open(&self) -> SqliteStore {
        self.try_open().unwrap()
    }

    /// The file as an intruder sees it.
    fn sql(&self, statement: &str) {
        rusqlite::Connection::open(self.database()).unwrap().execute_batch(statement).unwrap();
    }
}

fn text(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn oauth() -> GrantSecret {
    GrantSecret::OAuth { access: text(CANARIES[0]), refresh: Some(text(CANARIES[1])) }
}

fn api_key() -> GrantSecret {
    GrantSecret::ApiKey { key: text(CANARIES[2]) }
}

fn explicit() -> StoredOrigins {
    let set = |origin: &str| BTreeSet::from([origin.parse().unwrap()]);
    StoredOrigins::Explicit(Origins {
        inference: set("https://api.example"),
        usage: set("https://usage.example"),
        token: set("https://auth.example"),
    })
}

fn draft(email: &str, secret: GrantSecret) -> AccountDraft {
    AccountDraft {
        provider: ProviderId::new("acme").unwrap(),
        grant: GrantDraft { secret, expires_at: None, issued_at: NOW, origins: explicit(), custody: Custody::Owned },
        identity: Identity { email: Some(email.to_owned()), ..Identity::default() },
        source: Source::Login,
        label: None,
        priority: 0,
        options: AccountOptions::default(),
        standing: Standing::Active,
        plan: None,
        logged_in_at: None,
        onto: None,
    }
}

async fn place(store: &SqliteStore, email: &str, secret: GrantSecret) -> Placed {
    store.account_place(draft(email, secret), NOW).await.unwrap()
}

fn texts(row: &GrantRow) -> (&str, Option<&str>) {
    match &row.secret {
        GrantSecret::OAuth { access, refresh } => (access.expose(), refresh.as_ref().map(SecretText::expose)),
        GrantSecret::ApiKey { key } => (key.expose(), None),
    }
}

const GRANT: GrantId = GrantId(1);
const FIRST: GrantRevision = GrantRevision::FIRST;
const ATTEMPT: AttemptId = AttemptId(0xabc);

fn answer(body: &[u8]) -> SpillRecord {
    SpillRecord {
        status: 200,
        date: None,
        retry_after: None,
        content_type: None,
        sent_at: NOW,
        body: zeroize::Zeroizing::new(body.to_vec()),
    }
}
