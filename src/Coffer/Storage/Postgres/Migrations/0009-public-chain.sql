-- The same column as in SQLite (Sqlite/Migrations/0006-public-chain.sql says what it is for).
ALTER TABLE audit ADD COLUMN IF NOT EXISTS public BYTEA;
