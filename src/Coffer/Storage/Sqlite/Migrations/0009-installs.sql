-- The id by which an install is found (Secrets/InstallId.cs); null until somebody was shown it. It follows from the
-- other columns, so that rows of before have theirs too.
ALTER TABLE tenants ADD COLUMN install TEXT NULL;
CREATE INDEX tenants_by_install ON tenants (install) WHERE install IS NOT NULL;

-- Serves lists of installs: newest first, in one mode.
CREATE INDEX tenants_by_number ON tenants (app, livemode, id);

-- Accounts that an app was uninstalled from, and that are closed until it is installed again. account is a keyed hash;
-- who it was the receipt says, as long as that is kept.
CREATE TABLE uninstalls (
    app      TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    account  BLOB NOT NULL,
    install  TEXT NOT NULL,
    number   INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    receipt  TEXT NOT NULL,
    PRIMARY KEY (app, livemode, account)
) WITHOUT ROWID;

CREATE INDEX uninstalls_by_receipt ON uninstalls (receipt);
CREATE INDEX uninstalls_by_install ON uninstalls (app, livemode, install);
