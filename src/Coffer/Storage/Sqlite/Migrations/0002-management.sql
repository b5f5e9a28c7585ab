-- The management plane. What an app is set to, and its signing secrets, are sealed together; null is as it was made.
ALTER TABLE apps ADD COLUMN sealed BLOB NULL;

-- Of restricted keys: permissions, the one account, and the networks it is taken from; last_used is the second at which
-- an hour began.
ALTER TABLE api_keys ADD COLUMN permissions TEXT NULL;
ALTER TABLE api_keys ADD COLUMN pinned_account TEXT NULL;
ALTER TABLE api_keys ADD COLUMN addresses TEXT NULL;
ALTER TABLE api_keys ADD COLUMN last_used INTEGER NULL;

CREATE INDEX tenants_by_account ON tenants (app, account);

-- Ephemeral keys have no rows. What ends them early: one of them by its id, or all of a key or an account that were
-- made until then.
CREATE TABLE revocations (
    subject    TEXT NOT NULL PRIMARY KEY,
    made_until INTEGER NOT NULL,
    kept_until INTEGER NOT NULL
) WITHOUT ROWID;

-- What idempotency keys have kept outside tenants. owner is the blind index of the account that a reply is about.
CREATE TABLE replies (
    seq         INTEGER NOT NULL PRIMARY KEY,
    key         BLOB NOT NULL UNIQUE,
    owner       BLOB NULL,
    fingerprint BLOB NOT NULL,
    created     INTEGER NOT NULL,
    sealed      BLOB NOT NULL
);

CREATE INDEX replies_by_owner ON replies (owner) WHERE owner IS NOT NULL;
