-- The same table as in SQLite (Sqlite/Migrations/0005-control.sql says what it is for).

CREATE TABLE IF NOT EXISTS root_key_wrappings (
    version BIGINT NOT NULL,
    wrapper TEXT COLLATE "C" NOT NULL,
    wrapped BYTEA NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (version, wrapper)
);

-- The newest root key that a node has opened: nothing is sealed under one that a node does not open.
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS opened BIGINT NOT NULL DEFAULT 0;
