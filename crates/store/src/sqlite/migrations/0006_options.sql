-- What a person sets for one account.
ALTER TABLE accounts ADD COLUMN reserve_percent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
-- Whether it serves the vendor's own client alone: 'on', 'off', or 'default' for what the vendor's terms say.
ALTER TABLE accounts ADD COLUMN own_client TEXT NOT NULL DEFAULT 'default';
ALTER TABLE accounts ADD COLUMN model_prefix TEXT;
-- The URL of a proxy, sealed, since it may hold a password.
ALTER TABLE accounts ADD COLUMN proxy BLOB;

-- What providers say of the account.
ALTER TABLE accounts ADD COLUMN enterprise_url TEXT;
ALTER TABLE accounts ADD COLUMN api_endpoint TEXT;
ALTER TABLE accounts ADD COLUMN plan TEXT;

-- When a person last logged in. NULL: not known, or a key.
ALTER TABLE accounts ADD COLUMN logged_in_at INTEGER;
