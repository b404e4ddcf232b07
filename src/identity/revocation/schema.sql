-- What is revoked, without the names of anybody. A row that reaches further replaces the one before and gets a number of its own, so
-- that another process finds what is new by its number.
CREATE TABLE revoked (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    mark   BLOB NOT NULL UNIQUE CHECK (length(mark) = 16),
    cutoff INTEGER NOT NULL
) STRICT;

CREATE INDEX revoked_by_age ON revoked (cutoff);

-- How far other sources were read.
CREATE TABLE progress (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
