-- Which account a session used last.
CREATE TABLE sticky (
  provider TEXT NOT NULL,
  session INTEGER NOT NULL,
  account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  used_at INTEGER NOT NULL,
  PRIMARY KEY (provider, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX sticky_by_use ON sticky (used_at);
CREATE INDEX sticky_by_account ON sticky (account_id);

-- Applied attempts are forgotten by age.
CREATE INDEX attempts_applied_by_age ON attempts_applied (applied_at);
