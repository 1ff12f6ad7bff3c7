-- One row: which instance of the vault this is, and how many times a secret may have been used up or came in. The count is
-- mirrored outside the database, so that a database that was put back is behind its mirror.
CREATE TABLE guard (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  instance BLOB NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;
INSERT INTO guard (id, instance, epoch) VALUES (1, randomblob(16), 0);

-- Since when a grant is not refreshed by itself, because another copy of the vault may have used its refresh token up.
ALTER TABLE grants ADD COLUMN quarantined_at INTEGER;
