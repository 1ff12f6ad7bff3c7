-- Where the key is, for a vault that is sealed with a key in the keyring of the operating system.
ALTER TABLE meta ADD COLUMN keyring_entry TEXT;
-- When the seal was last changed; NULL for the seal of the first day.
ALTER TABLE meta ADD COLUMN seal_changed_at INTEGER;
-- When a recovery kit was last made, and whether the seal was changed since.
ALTER TABLE meta ADD COLUMN kit_made_at INTEGER;
ALTER TABLE meta ADD COLUMN kit_outdated INTEGER NOT NULL DEFAULT 0;

-- When everything was sealed anew under this version. NULL beside an older version: the rotation is not finished.
ALTER TABLE data_keys ADD COLUMN resealed_at INTEGER;

-- The newest data key when the refresh was journalled: its answer is spilled under this one or a newer one. NULL: unknown.
ALTER TABLE intents ADD COLUMN key_version INTEGER;
