-- What was forgotten, and what is stated of it (Secrets/Receipt.cs). sealed is the statement; signed is the second at
-- which all that it says was true, and null until then.
CREATE TABLE receipts (
    id      TEXT NOT NULL PRIMARY KEY,
    created INTEGER NOT NULL,
    signed  INTEGER NULL,
    sealed  BLOB NOT NULL
) WITHOUT ROWID;

-- Serves both the search for those that wait for their signature and the removal of old ones.
CREATE INDEX receipts_by_signed ON receipts (signed, created, id);
