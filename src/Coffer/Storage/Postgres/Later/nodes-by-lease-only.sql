-- The contract step of decision 25, to become the next migration in a release after the one whose nodes hold their
-- names by lease: a node of before, which holds it by a lock of its session, refuses the schema from then on.

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND classid::bigint = 1129268814 -- "COFN", PostgresLocks.Names
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) THEN
        RAISE EXCEPTION 'a node of an earlier release runs on this database: update all nodes first'
            USING ERRCODE = 'object_in_use';
    END IF;
END $$;
