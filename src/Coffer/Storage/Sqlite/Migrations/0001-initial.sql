-- Everything a secret request touches hangs under the tenant. Names, users and payloads are nowhere in clear: scope and
-- name (a name in its scope) are blind indexes, sealed is an envelope (docs/envelope.md). Times are Unix seconds.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE root_keys (
    version INTEGER NOT NULL PRIMARY KEY,
    created INTEGER NOT NULL,
    wrapped BLOB NOT NULL
);

CREATE TABLE apps (
    id      TEXT NOT NULL PRIMARY KEY,
    name    TEXT NOT NULL,
    account TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

-- mac finds the row of a token; proof binds the other columns to it.
CREATE TABLE api_keys (
    mac        BLOB NOT NULL PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    app        TEXT NULL REFERENCES apps (id),
    kind       TEXT NOT NULL,
    livemode   INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    expires_at INTEGER NULL,
    proof      BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE tenants (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    app         TEXT NOT NULL REFERENCES apps (id),
    livemode    INTEGER NOT NULL,
    account     TEXT NOT NULL,
    created     INTEGER NOT NULL,
    sealed_keys BLOB NOT NULL,
    UNIQUE (app, livemode, account)
);

CREATE TABLE secrets (
    tenant     INTEGER NOT NULL REFERENCES tenants (id),
    name       BLOB NOT NULL,
    scope      BLOB NOT NULL,
    id         TEXT NOT NULL,
    version    INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    expires_at INTEGER NULL,
    sealed     BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- list walks it from the newest id down; expires_at is in it so that the quota is counted without the rows.
CREATE UNIQUE INDEX secrets_by_id ON secrets (tenant, scope, id, expires_at);

-- The Reaper walks it from the longest expired on.
CREATE INDEX secrets_by_expiry ON secrets (expires_at) WHERE expires_at IS NOT NULL;

-- seq grows with time, so that the oldest records are found without another index.
CREATE TABLE idempotency (
    seq         INTEGER NOT NULL PRIMARY KEY,
    tenant      INTEGER NOT NULL REFERENCES tenants (id),
    key         BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    created     INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    UNIQUE (tenant, key)
);

-- One row a commit: its entries, a line of JSON each, and the chain's MAC over them and all before them.
CREATE TABLE audit (
    row     INTEGER NOT NULL PRIMARY KEY,
    node    TEXT NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    mac     BLOB NOT NULL,
    entries BLOB NOT NULL
);
