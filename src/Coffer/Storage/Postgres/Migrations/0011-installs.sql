-- The same as in SQLite (Sqlite/Migrations/0009-installs.sql says what it is for).

ALTER TABLE tenants ADD COLUMN IF NOT EXISTS install TEXT COLLATE "C" NULL;
CREATE INDEX IF NOT EXISTS tenants_by_install ON tenants (install) WHERE install IS NOT NULL;
CREATE INDEX IF NOT EXISTS tenants_by_number ON tenants (app, livemode, id);

CREATE TABLE IF NOT EXISTS uninstalls (
    app      TEXT COLLATE "C" NOT NULL,
    livemode BIGINT NOT NULL,
    account  BYTEA NOT NULL,
    install  TEXT COLLATE "C" NOT NULL,
    number   BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    receipt  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app, livemode, account)
);

CREATE INDEX IF NOT EXISTS uninstalls_by_receipt ON uninstalls (receipt);
CREATE INDEX IF NOT EXISTS uninstalls_by_install ON uninstalls (app, livemode, install);
