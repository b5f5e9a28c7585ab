-- Tenant keys of format 2 (docs/envelope.md): counter is one more at each change of a tenant's keys, keys is how many
-- there are. Rows of before are of format 1, and stay so until their keys rotate.
ALTER TABLE tenants ADD COLUMN counter INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN keys INTEGER NOT NULL DEFAULT 1;

-- The tenant under whose keys a kept reply is; null under the store's own.
ALTER TABLE replies ADD COLUMN tenant INTEGER NULL;
CREATE INDEX replies_by_tenant ON replies (tenant) WHERE tenant IS NOT NULL;
