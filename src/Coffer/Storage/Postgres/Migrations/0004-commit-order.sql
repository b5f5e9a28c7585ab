-- As in SQLite (Sqlite/Migrations/0003-commit-order.sql says what it is for), and what nodes say to each other in rows.
-- Nodes of the release before run on beside it: all that is new in a table of theirs has a default.
CREATE TABLE IF NOT EXISTS epoch (
    one BIGINT NOT NULL PRIMARY KEY,
    n   BIGINT NOT NULL
);

-- What the commit of a number changed, a line each. Rows go after 10 minutes.
CREATE TABLE IF NOT EXISTS told (
    n    BIGINT NOT NULL PRIMARY KEY,
    what TEXT COLLATE "C" NOT NULL,
    at   TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Who has which name until when, by the database's clock. The offset is the node's clock less the database's, in
-- milliseconds.
CREATE TABLE IF NOT EXISTS nodes (
    number       BIGINT NOT NULL PRIMARY KEY,
    holder       TEXT COLLATE "C" NOT NULL,
    until        TIMESTAMPTZ NOT NULL,
    version      TEXT COLLATE "C" NOT NULL,
    address      TEXT COLLATE "C" NULL,
    started      TIMESTAMPTZ NOT NULL,
    seen         TIMESTAMPTZ NOT NULL,
    clock_offset BIGINT NOT NULL,
    draining     BIGINT NOT NULL
);

ALTER TABLE revocations
    ADD COLUMN IF NOT EXISTS n BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS app TEXT COLLATE "C" NULL,
    ADD COLUMN IF NOT EXISTS ordered_until BIGINT NULL;
CREATE INDEX IF NOT EXISTS revocations_by_n ON revocations (n, subject);
CREATE INDEX IF NOT EXISTS revocations_by_end ON revocations (kept_until);

ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS generation BIGINT NULL;

CREATE TABLE IF NOT EXISTS generations (
    app        TEXT COLLATE "C" NOT NULL,
    livemode   BIGINT NOT NULL,
    account    TEXT COLLATE "C" NOT NULL,
    n          BIGINT NOT NULL,
    kept_until BIGINT NOT NULL,
    mac        BYTEA NOT NULL,
    PRIMARY KEY (app, livemode, account)
);

CREATE INDEX IF NOT EXISTS generations_by_n ON generations (n);
