-- The last that each holder's phone showed here: the time it signed, and when that was by the clock nobody sets.
CREATE TABLE showings (
    holder_key BLOB PRIMARY KEY,
    shown_s INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    monotonic_ms INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX showings_by_time ON showings (at_ms);

-- Who came in on a use beside the persons that it counts.
ALTER TABLE uses ADD COLUMN companions INTEGER NOT NULL DEFAULT 0;
