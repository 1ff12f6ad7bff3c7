-- Logins that were taken over from another tool: from which file, and which refresh token it held then. A tool that renews a
-- login afterwards has used up the token that is here.
CREATE TABLE taken (
  grant_id INTEGER PRIMARY KEY REFERENCES grants (id) ON DELETE CASCADE,
  path BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  taken_at INTEGER NOT NULL
) STRICT;
