-- Uses and closings are sets: a row once written is never changed.
CREATE TABLE uses (
    admission_id BLOB PRIMARY KEY,
    box_id TEXT NOT NULL,
    seq_no INTEGER NOT NULL,
    key BLOB NOT NULL,
    basis INTEGER NOT NULL,
    scope TEXT NOT NULL,
    lane_id TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    fare_fen INTEGER NOT NULL,
    risk INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    keep_until_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uses_by_key ON uses (key);
CREATE INDEX uses_at_risk ON uses (at_ms) WHERE risk > 0;
CREATE INDEX uses_by_expiry ON uses (keep_until_s);

CREATE TABLE closings (
    admission_id BLOB NOT NULL,
    outcome INTEGER NOT NULL,
    box_id TEXT NOT NULL,
    seq_no INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (admission_id, outcome)
) WITHOUT ROWID;

-- Admissions whose end is not known yet: what a start after a crash must close.
CREATE TABLE open_admissions (
    admission_id BLOB PRIMARY KEY
) WITHOUT ROWID;

-- The ledger: canonical bytes of entry seq_no, and the hash over everything up to it.
CREATE TABLE ledger (
    seq_no INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    entry BLOB NOT NULL,
    hash BLOB NOT NULL
);

-- The diary may lose rows, never numbers: AUTOINCREMENT does not give a number twice.
CREATE TABLE diary (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    entry BLOB NOT NULL
);

CREATE TABLE state (
    name TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;
