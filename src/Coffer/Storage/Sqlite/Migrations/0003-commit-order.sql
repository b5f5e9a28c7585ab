-- The number of the last commit that changed what nodes keep in memory: each such commit takes the next one and holds
-- the row until it ends, so the order of numbers is the order of commits
-- (docs/decisions/0013-numbers-in-the-order-of-commits.md). One row, which the first such commit adds.
CREATE TABLE epoch (
    one INTEGER NOT NULL PRIMARY KEY,
    n   INTEGER NOT NULL
);

-- n is the number of the commit that wrote the row last, app is whose key it ends. ordered_until is made_until as a
-- program wrote it that knows numbers: where made_until is later, or there is none, a program that does not know them
-- wrote since.
ALTER TABLE revocations ADD COLUMN n INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revocations ADD COLUMN app TEXT NULL;
ALTER TABLE revocations ADD COLUMN ordered_until INTEGER NULL;
CREATE INDEX revocations_by_n ON revocations (n, subject);
CREATE INDEX revocations_by_end ON revocations (kept_until);

-- The number of the commit that ended all that the key had minted; null is that none did.
ALTER TABLE api_keys ADD COLUMN generation INTEGER NULL;

-- The same of a tenant, which outlives the tenant's own row. The row without an app holds the greatest number that was
-- removed.
CREATE TABLE generations (
    app        TEXT NOT NULL,
    livemode   INTEGER NOT NULL,
    account    TEXT NOT NULL,
    n          INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    mac        BLOB NOT NULL,
    PRIMARY KEY (app, livemode, account)
) WITHOUT ROWID;

CREATE INDEX generations_by_n ON generations (n);
