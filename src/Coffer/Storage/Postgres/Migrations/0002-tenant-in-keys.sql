-- The tenant is in every unique key of what hangs under it, as a table that is spread by tenant must have it. The order
-- in which old records are removed is an order of reading, and no key.

ALTER TABLE idempotency
    DROP CONSTRAINT idempotency_pkey,
    DROP CONSTRAINT idempotency_tenant_key_key;

ALTER TABLE idempotency ADD PRIMARY KEY (tenant, key);

CREATE INDEX idempotency_by_seq ON idempotency (seq);
