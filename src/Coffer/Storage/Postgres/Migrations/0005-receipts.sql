-- The same table as in SQLite (Sqlite/Migrations/0004-receipts.sql says what it is for).

CREATE TABLE receipts (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created BIGINT NOT NULL,
    signed  BIGINT NULL,
    sealed  BYTEA NOT NULL
);

ALTER TABLE receipts ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE INDEX receipts_by_signed ON receipts (signed, created, id);
