-- Of an admin key: its role, and the apps that it is held to, with commas between. created_by is the id of the key that
-- made it; offline is 1 of one that was made beside the server.
ALTER TABLE api_keys ADD COLUMN role TEXT NULL;
ALTER TABLE api_keys ADD COLUMN apps TEXT NULL;
ALTER TABLE api_keys ADD COLUMN created_by TEXT NULL;
ALTER TABLE api_keys ADD COLUMN offline INTEGER NOT NULL DEFAULT 0;

-- Keys that have ended, or whose end is decided: what stands here is refused from then on, whatever api_keys says. It
-- refers to nothing, for it outlives its app.
CREATE TABLE ended_keys (
    mac      BLOB NOT NULL PRIMARY KEY,
    id       TEXT NOT NULL,
    app      TEXT NULL,
    kind     TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    ended    INTEGER NOT NULL,
    how      TEXT NOT NULL,
    proof    BLOB NOT NULL
) WITHOUT ROWID;
