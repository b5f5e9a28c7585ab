-- A table whose rows are updated needs a key to be published: logical replication names the row by it.
ALTER TABLE coffer_schema DROP CONSTRAINT IF EXISTS coffer_schema_pkey, ADD PRIMARY KEY (version);
