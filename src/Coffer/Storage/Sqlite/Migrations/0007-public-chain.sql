-- What proves a row of the log without a key (docs/envelope.md, "Public chain"): 16 random bytes, the hash of the chain
-- up to the row's last entry, and the generation of the store. A row of before has none.
ALTER TABLE audit ADD COLUMN public BLOB;
