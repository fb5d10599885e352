-- Whose a document is, and which tickets were bought on it, as far as that changed since the full list.
CREATE TABLE changed_documents (
    key BLOB NOT NULL,
    holder BLOB NOT NULL,
    revision INTEGER NOT NULL,
    is_ticket INTEGER NOT NULL,
    is_linked INTEGER NOT NULL,
    PRIMARY KEY (key, holder)
) WITHOUT ROWID;

-- What providers have found about holders of keys, as far as that changed; empty unless the policy asks for clearance.
CREATE TABLE changed_clearances (
    key BLOB NOT NULL,
    provider TEXT NOT NULL,
    revision INTEGER NOT NULL,
    colour TEXT NOT NULL,
    until_s INTEGER NOT NULL,
    PRIMARY KEY (key, provider)
) WITHOUT ROWID;

CREATE TABLE changed_credit_orders (
    key BLOB NOT NULL,
    order_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    site_id TEXT NOT NULL,
    fare_fen INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    from_s INTEGER NOT NULL,
    until_s INTEGER NOT NULL,
    PRIMARY KEY (key, order_id)
) WITHOUT ROWID;
