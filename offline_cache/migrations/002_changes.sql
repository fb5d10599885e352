-- What has changed since the full list: rows as the centre sent them, each with its revision. Counters are not here.
CREATE TABLE changed_products (
    code TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    site_ids TEXT NOT NULL,
    terms TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE changed_tickets (
    key BLOB PRIMARY KEY,
    revision INTEGER NOT NULL,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    refunded INTEGER NOT NULL,
    valid_from_s INTEGER NOT NULL,
    valid_until_s INTEGER NOT NULL,
    status TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE changed_memberships (
    key BLOB NOT NULL,
    group_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    from_s INTEGER NOT NULL,
    until_s INTEGER NOT NULL,
    PRIMARY KEY (key, group_id)
) WITHOUT ROWID;

CREATE TABLE changed_credit_lines (
    key BLOB PRIMARY KEY,
    revision INTEGER NOT NULL,
    limit_fen INTEGER NOT NULL,
    per_visit_fen INTEGER NOT NULL,
    until_s INTEGER NOT NULL
) WITHOUT ROWID;

-- Issuer keys that are not trusted any more. A key is withdrawn for good: these rows outlive every list.
CREATE TABLE withdrawn_keys (
    key_id BLOB PRIMARY KEY,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
