-- What a commit costs. A record's tenant is there: the transaction that writes it holds the tenant's row. So does what
-- removes a tenant, and takes its records with it. Entries are compressed by what is quick at it, where the server
-- knows it.

-- In the order in which commits take them, so that nodes that run meanwhile do not stand in the way.
LOCK TABLE tenants, idempotency IN ACCESS EXCLUSIVE MODE;

ALTER TABLE idempotency DROP CONSTRAINT IF EXISTS idempotency_tenant_fkey;

DO $$
BEGIN
    ALTER TABLE audit ALTER COLUMN entries SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL; -- a server that was built without it
END $$;
