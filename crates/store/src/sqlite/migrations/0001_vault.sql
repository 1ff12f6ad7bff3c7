-- One row: what the vault is sealed with.
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  vault_id BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  seal_kind TEXT NOT NULL,
  kdf_memory_kib INTEGER NOT NULL,
  kdf_passes INTEGER NOT NULL,
  kdf_lanes INTEGER NOT NULL,
  kdf_salt BLOB NOT NULL,
  sentinel BLOB NOT NULL,
  checksum BLOB NOT NULL
) STRICT;

CREATE TABLE data_keys (
  version INTEGER PRIMARY KEY,
  wrapped BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- Keys of keyed hashes; they outlive every data key.
CREATE TABLE hash_keys (
  purpose TEXT PRIMARY KEY,
  sealed BLOB NOT NULL
) STRICT;

CREATE TABLE grants (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  provider TEXT NOT NULL,
  revision INTEGER NOT NULL,
  kind TEXT NOT NULL,
  access_token BLOB,
  refresh_token BLOB,
  api_key BLOB,
  fingerprint BLOB NOT NULL,
  expires_at INTEGER,
  issued_at INTEGER NOT NULL,
  origins TEXT NOT NULL,
  followed_path BLOB,
  dead_cause TEXT,
  dead_since INTEGER,
  UNIQUE (provider, fingerprint)
) STRICT;

CREATE TABLE accounts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  provider TEXT NOT NULL,
  grant_id INTEGER NOT NULL REFERENCES grants (id),
  revision INTEGER NOT NULL,
  identity_key TEXT,
  account_id TEXT,
  email TEXT,
  org_id TEXT,
  org_name TEXT,
  project_id TEXT,
  source TEXT NOT NULL,
  label TEXT,
  priority INTEGER NOT NULL,
  disabled_cause TEXT,
  disabled_since INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX accounts_by_identity ON accounts (provider, identity_key) WHERE identity_key IS NOT NULL;
CREATE INDEX accounts_by_grant ON accounts (grant_id);

-- The journal: a refresh that was begun and not ended, and every POST that may have been sent for it.
CREATE TABLE intents (
  grant_id INTEGER PRIMARY KEY REFERENCES grants (id) ON DELETE CASCADE,
  from_revision INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  instance BLOB NOT NULL,
  opened_at INTEGER NOT NULL
) STRICT;

CREATE TABLE intent_attempts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  grant_id INTEGER NOT NULL REFERENCES intents (grant_id) ON DELETE CASCADE,
  attempt BLOB NOT NULL,
  UNIQUE (grant_id, attempt)
) STRICT;

-- Attempts whose answer is in the vault.
CREATE TABLE attempts_applied (
  attempt BLOB PRIMARY KEY,
  applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE blocks (
  account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  scope TEXT NOT NULL,
  until_at INTEGER NOT NULL,
  end TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (account_id, scope)
) STRICT;

CREATE TABLE keys (
  accessor TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  digest BLOB NOT NULL,
  label TEXT,
  providers TEXT NOT NULL,
  accounts TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  actor TEXT NOT NULL
) STRICT;

-- One number that moves with every change of what a view is built from, by whatever process.
CREATE TABLE changes (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  count INTEGER NOT NULL
) STRICT;
INSERT INTO changes (id, count) VALUES (1, 0);

CREATE TRIGGER grants_inserted AFTER INSERT ON grants BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER grants_updated AFTER UPDATE ON grants BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER grants_deleted AFTER DELETE ON grants BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER accounts_inserted AFTER INSERT ON accounts BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER accounts_updated AFTER UPDATE ON accounts BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER accounts_deleted AFTER DELETE ON accounts BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER blocks_inserted AFTER INSERT ON blocks BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER blocks_updated AFTER UPDATE ON blocks BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER blocks_deleted AFTER DELETE ON blocks BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN UPDATE changes SET count = count + 1; END;
CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN UPDATE changes SET count = count + 1; END;
