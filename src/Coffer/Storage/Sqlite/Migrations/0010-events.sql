-- What happened, for the apps that asked for it (docs/events.md): kept for 30 days. seq is given in the order of
-- commits. tenant is null of what is no tenant's, app of what is no app's.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    app      TEXT NULL,
    livemode INTEGER NOT NULL,
    account  TEXT NULL,
    tenant   INTEGER NULL,
    kind     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    sealed   BLOB NOT NULL
);

CREATE INDEX events_by_app ON events (app, livemode, seq);
CREATE INDEX events_by_account ON events (app, livemode, account) WHERE tenant IS NULL;
CREATE INDEX events_by_tenant ON events (tenant, seq) WHERE tenant IS NOT NULL;

-- Where events are sent. position is the last event that was sent, or stands in deliveries; delivered is when one was
-- accepted last.
CREATE TABLE webhook_endpoints (
    id        TEXT NOT NULL PRIMARY KEY,
    app       TEXT NULL,
    livemode  INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    sealed    BLOB NOT NULL
) WITHOUT ROWID;

-- What an endpoint has not accepted yet, or what waits behind that. due is when it is sent next, failed when it was
-- given up, status the last answer; overtaken is 1 where a later event of the account was sent before.
CREATE TABLE deliveries (
    endpoint  TEXT NOT NULL,
    event     INTEGER NOT NULL,
    account   TEXT NOT NULL,
    created   INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    due       INTEGER NOT NULL,
    status    INTEGER NOT NULL,
    overtaken INTEGER NOT NULL,
    failed    INTEGER NULL,
    PRIMARY KEY (endpoint, event)
) WITHOUT ROWID;

CREATE INDEX deliveries_by_due ON deliveries (endpoint, due, event) WHERE failed IS NULL;
CREATE INDEX deliveries_by_account ON deliveries (endpoint, account, event) WHERE failed IS NULL;
CREATE INDEX deliveries_by_event ON deliveries (event);
