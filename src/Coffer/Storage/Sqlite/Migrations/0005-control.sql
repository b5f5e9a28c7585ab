-- A root key is wrapped by one wrapper or by several (docs/keys.md). What is true of these rows is in meta, under
-- 'control'. In root_keys wrapped is empty from then on.
CREATE TABLE root_key_wrappings (
    version INTEGER NOT NULL,
    wrapper TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (version, wrapper)
) WITHOUT ROWID;
