-- The same as in SQLite (Sqlite/Migrations/0006-ended-keys.sql says what it is for).

ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS role TEXT COLLATE "C" NULL;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS apps TEXT COLLATE "C" NULL;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS created_by TEXT COLLATE "C" NULL;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS offline BIGINT NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS ended_keys (
    mac      BYTEA NOT NULL PRIMARY KEY,
    id       TEXT COLLATE "C" NOT NULL,
    app      TEXT COLLATE "C" NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    livemode BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    ended    BIGINT NOT NULL,
    how      TEXT COLLATE "C" NOT NULL,
    proof    BYTEA NOT NULL
);

-- The newest level of stored forms that a node reads: no other is written while one runs that does not read it.
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS level BIGINT NOT NULL DEFAULT 0;
