-- The same columns as in SQLite (Sqlite/Migrations/0006-tenant-keys.sql says what they are for).

ALTER TABLE tenants ADD COLUMN IF NOT EXISTS counter BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN IF NOT EXISTS keys BIGINT NOT NULL DEFAULT 1;

ALTER TABLE replies ADD COLUMN IF NOT EXISTS tenant BIGINT NULL;
CREATE INDEX IF NOT EXISTS replies_by_tenant ON replies (tenant) WHERE tenant IS NOT NULL;

-- Who says of itself that it reads tenant keys of format 2: that is written only while each holder of a name does.
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS reads_format_2 TEXT COLLATE "C" NULL;
