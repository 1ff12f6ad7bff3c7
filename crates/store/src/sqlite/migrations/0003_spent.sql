-- Refresh tokens that were given from outside and were redeemed here since: given again, they must not be sent again.
CREATE TABLE spent (
  provider TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  spent_at INTEGER NOT NULL,
  PRIMARY KEY (provider, fingerprint)
) STRICT, WITHOUT ROWID;

-- Whether the secret came from outside; a refresh brings one that nobody else has.
ALTER TABLE grants ADD COLUMN given INTEGER NOT NULL DEFAULT 1;
