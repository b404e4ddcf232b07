-- Whose file this is: a name that is made once and goes where the file goes.
CREATE TABLE usage_node (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT;

-- One row per start of a gateway: how far its batches are applied. Changed in the transaction that applies a batch, so that a
-- batch that is sent again is recognised. `lines` is the control total of everything this epoch has ever committed.
CREATE TABLE usage_batch (
    node         INTEGER NOT NULL REFERENCES usage_node (id),
    epoch        INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    lines        INTEGER NOT NULL,
    started_ms   INTEGER NOT NULL,
    committed_ms INTEGER NOT NULL,
    PRIMARY KEY (node, epoch)
) STRICT, WITHOUT ROWID;

-- Each set of dimensions once, as a JSON object with sorted names.
CREATE TABLE usage_dims (
    id         INTEGER PRIMARY KEY,
    dimensions TEXT NOT NULL UNIQUE
) STRICT;

-- What batches have added, never changed. Moved into usage_minute from time to time, in one transaction.
CREATE TABLE usage_row (
    node     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    line     INTEGER NOT NULL,
    account  TEXT NOT NULL,
    meter    TEXT NOT NULL,
    dims     INTEGER NOT NULL,
    minute   INTEGER NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    lines    INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (node, epoch, seq, line)
) STRICT, WITHOUT ROWID;

-- Sums per minute since 1970.
CREATE TABLE usage_minute (
    minute   INTEGER NOT NULL,
    account  TEXT NOT NULL,
    meter    TEXT NOT NULL,
    dims     INTEGER NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    lines    INTEGER NOT NULL,
    PRIMARY KEY (minute, account, meter, dims)
) STRICT, WITHOUT ROWID;

-- All usage, for reports and for people.
CREATE VIEW usage (account, meter, dimensions, minute, quantity, lines) AS
    SELECT account, meter, dimensions, minute, quantity, lines FROM usage_minute JOIN usage_dims ON usage_dims.id = dims
    UNION ALL
    SELECT account, meter, dimensions, minute, quantity, lines FROM usage_row JOIN usage_dims ON usage_dims.id = dims;
