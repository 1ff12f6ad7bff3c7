CREATE TABLE usage (
    account_id INTEGER NOT NULL,
    limit_id TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    provider TEXT NOT NULL,
    label TEXT NOT NULL,
    scope TEXT NOT NULL,
    window_ms INTEGER,
    used REAL,
    unit TEXT,
    amount_used REAL,
    amount_limit REAL,
    amount_remaining REAL,
    resets_at INTEGER,
    status TEXT NOT NULL,
    role TEXT NOT NULL,
    plan TEXT,
    source TEXT NOT NULL,
    observed_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, limit_id, bucket)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_time ON usage (observed_at);

CREATE TABLE waste (
    account_id INTEGER NOT NULL,
    limit_id TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    provider TEXT NOT NULL,
    label TEXT NOT NULL,
    unused REAL NOT NULL,
    observed_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, limit_id, ended_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX waste_by_time ON waste (ended_at);

CREATE TABLE costs (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    provider TEXT NOT NULL,
    account_id INTEGER,
    model TEXT,
    usd REAL NOT NULL CHECK (usd > 0)
) STRICT;
CREATE INDEX costs_by_time ON costs (at);
