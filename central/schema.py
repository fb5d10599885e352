"""The centre's tables. What the boxes said is kept raw; what follows from it is folded and can be folded again.

Times are UTC: `_s` seconds, `_ms` milliseconds. Keys, ids and hashes are bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()


class Bytes(LargeBinary):
    """Bytes handed to the driver as they are: wrapping each value costs more than storing it."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        """No conversion."""

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """No conversion."""


store_facts = Table(
    "store_facts",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
    comment="What the store says of itself: store_id, revision, revision_floor.",
)

# Rights: what was sold or imported. Every row has the revision of its last change, which no other row has.

products = Table(
    "products",
    metadata,
    Column("code", String(64), primary_key=True),
    Column("name_zh", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    Column("site_ids", Text, nullable=False, comment="a JSON array, sorted"),
    Column("terms", Text, nullable=False, server_default="", comment="a JSON object; empty: plain"),
    Column("revision", BigInteger, nullable=False),
    Index("products_revision", "revision"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("key", Bytes(16), primary_key=True),
    Column("issuer", String(64), nullable=False, comment="empty: this centre"),
    Column("product", ForeignKey("products.code"), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("refunded", Integer, nullable=False, server_default="0"),
    Column("valid_from_s", BigInteger, nullable=False),
    Column("valid_until_s", BigInteger, nullable=False),
    Column("status", String(16), nullable=False, server_default="valid"),
    Column("revision", BigInteger, nullable=False),
    Index("tickets_revision", "revision"),
    sqlite_with_rowid=False,
)

sales = Table(
    "sales",
    metadata,
    Column("sale_id", Bytes(16), primary_key=True, comment="the hash of the client's idempotency key"),
    Column("request_hash", Bytes(32), nullable=False),
    Column("sold_s", BigInteger, nullable=False),
    Column("merchant", String(64), nullable=False, server_default="", comment="whose vouchers they are"),
)

sold_tickets = Table(
    "sold_tickets",
    metadata,
    Column("key", ForeignKey("tickets.key"), primary_key=True),
    Column("ticket_id", Bytes(32), nullable=False, unique=True),
    Column("sale_id", ForeignKey("sales.sale_id"), nullable=False, index=True),
    Column("short_code", String(13), comment="none for tickets sold before there were any"),
    comment="Tickets of this centre: what their codes are made from again.",
)

memberships = Table(
    "memberships",
    metadata,
    Column("key", Bytes(16), primary_key=True),
    Column("group_id", String(64), primary_key=True),
    Column("from_s", BigInteger, nullable=False),
    Column("until_s", BigInteger, nullable=False, comment="not after from_s: removed"),
    Column("revision", BigInteger, nullable=False),
    Index("memberships_revision", "revision"),
    sqlite_with_rowid=False,
)

credit_lines = Table(
    "credit_lines",
    metadata,
    Column("key", Bytes(16), primary_key=True),
    Column("limit_fen", BigInteger, nullable=False),
    Column("per_visit_fen", BigInteger, nullable=False),
    Column("until_s", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("credit_lines_revision", "revision"),
    sqlite_with_rowid=False,
)

documents = Table(
    "documents",
    metadata,
    Column("key", Bytes(16), primary_key=True, comment="the document's keyed hash"),
    Column("holder", Bytes(16), primary_key=True, comment="the key of a subject or a ticket"),
    Column("is_ticket", Boolean, nullable=False),
    Column("is_linked", Boolean, nullable=False, comment="false: removed"),
    Column("revision", BigInteger, nullable=False),
    Index("documents_revision", "revision"),
    sqlite_with_rowid=False,
)

credit_orders = Table(
    "credit_orders",
    metadata,
    Column("key", Bytes(16), primary_key=True),
    Column("order_id", String(64), primary_key=True),
    Column("site_id", String(64), nullable=False),
    Column("fare_fen", BigInteger, nullable=False),
    Column("quantity", Integer, nullable=False, comment="0: cancelled"),
    Column("from_s", BigInteger, nullable=False),
    Column("until_s", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("credit_orders_revision", "revision"),
    sqlite_with_rowid=False,
)

clearances = Table(
    "clearances",
    metadata,
    Column("key", Bytes(16), primary_key=True, comment="of a subject, a document or a ticket"),
    Column("provider", String(32), primary_key=True),
    Column("colour", String(16), nullable=False),
    Column("until_s", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("clearances_revision", "revision"),
    sqlite_with_rowid=False,
    comment="Empty unless the policy asks for clearance.",
)

withdrawn_keys = Table(
    "withdrawn_keys",
    metadata,
    Column("key_id", Bytes(16), primary_key=True),
    Column("withdrawn_s", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    comment="Issuer keys that are not trusted any more.",
)

# Boxes, and what they sent, byte for byte.

boxes = Table(
    "boxes",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("site_id", String(64), nullable=False),
    Column("public_key", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("barred_s", BigInteger, comment="since when no broker lets it in; null: it is let in"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("secret_sha256", Bytes(32), primary_key=True),
    Column("box_id", String(64), nullable=False),
    Column("site_id", String(64), nullable=False),
    Column("until_s", BigInteger, nullable=False),
    Column("used_by", Bytes(32), comment="digest of the request that it was used for"),
    Column("certificate", Text, comment="what was answered, in case the answer was lost"),
    comment="One-time tokens with which boxes enrol.",
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", String(40), primary_key=True, comment="hex"),
    Column("box_id", String(64), nullable=False, index=True),
    Column("until_s", BigInteger, nullable=False),
    Column("revoked_s", BigInteger),
    comment="What the authority has issued to boxes.",
)

presence = Table(
    "presence",
    metadata,
    Column("box_id", ForeignKey("boxes.box_id"), primary_key=True),
    Column("session", Text, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("at_ms", BigInteger, nullable=False, comment="by the box's clock"),
    Column("received_ms", BigInteger, nullable=False),
    Column("health", Text, nullable=False, comment="a JSON object, or null"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("seq_no", BigInteger, primary_key=True),
    Column("site_id", String(64), nullable=False),
    Column("epoch", Bytes, nullable=False),
    Column("entry", Bytes, nullable=False),
    Column("hash", Bytes(32), nullable=False),
    Column("received_ms", BigInteger, nullable=False, server_default="0", comment="0: before this was noted"),
    sqlite_with_rowid=False,
)

diary = Table(
    "diary",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("site_id", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("lane_id", String(64), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("key", Bytes, nullable=False),
    Column("detail", Text, nullable=False),
    Index("diary_at", "at_ms"),
    sqlite_with_rowid=False,
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("stream", String(16), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("problem", Text, nullable=False),
    Column("entry", Bytes, nullable=False),
    comment="Signed entries that this version cannot read.",
)

forks = Table(
    "forks",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("digest", Bytes(32), primary_key=True, comment="SHA-256 of the message"),
    Column("seq_no", BigInteger, nullable=False, comment="where the box's history leaves ours"),
    Column("received_ms", BigInteger, nullable=False),
    Column("message", Bytes, nullable=False),
)

rejections = Table(
    "rejections",
    metadata,
    Column("topic", String(255), primary_key=True),
    Column("problem", String(64), primary_key=True),
    Column("detail", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    comment="Messages that could not be believed, by topic and kind.",
)

# Folded from the ledger: may be deleted and folded again.

fold_positions = Table(
    "fold_positions",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("seq_no", BigInteger, nullable=False),
    Column(
        "latest_ms",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="by the box's clock, if it can be",
    ),
    Column("is_clock_wrong", Boolean, nullable=False, server_default=false()),
)

holders = Table(
    "holders",
    metadata,
    Column("key", Bytes(16), primary_key=True, comment="of a ticket or a subject"),
    Column("holder_key", Bytes(33), nullable=False, comment="the phone's, a point of SEC 1"),
    Column("bound_s", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

uses = Table(
    "uses",
    metadata,
    Column("admission_id", Bytes, primary_key=True),
    Column("key", Bytes(16), nullable=False),
    Column("basis", Integer, nullable=False),
    Column("scope", Text, nullable=False),
    Column("site_id", String(64), nullable=False),
    Column("box_id", String(64), nullable=False),
    Column("lane_id", String(64), nullable=False),
    Column("seq_no", BigInteger, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("fare_fen", BigInteger, nullable=False),
    Column("risk", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("list_version", BigInteger, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("granted_by", Text, nullable=False, server_default=""),
    Column("companions", Integer, nullable=False, server_default="0"),
    Index("uses_key", "key"),
    Index("uses_box", "box_id", "seq_no"),
    Index("uses_at", "at_ms"),
    Index("uses_basis", "basis", "key"),
)

closings = Table(
    "closings",
    metadata,
    Column("admission_id", Bytes, primary_key=True),
    Column("outcome", Integer, primary_key=True),
    Column("box_id", String(64), nullable=False),
    Column("seq_no", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

resumptions = Table(
    "resumptions",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("seq_no", BigInteger, primary_key=True),
    Column("admission_id", Bytes, nullable=False),
    Column("lane_id", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

overrides = Table(
    "overrides",
    metadata,
    Column("admission_id", Bytes, primary_key=True),
    Column("refused_record", String(64), nullable=False),
    Column("staff_id", String(64), nullable=False),
    Column("role", Integer, nullable=False),
    Column("code", String(32), nullable=False),
    Column("box_id", String(64), nullable=False),
    Column("seq_no", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("overrides_staff", "staff_id", "at_ms"),
    comment="Admissions that a member of staff decided.",
)

incidents = Table(
    "incidents",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("seq_no", BigInteger, primary_key=True),
    Column(
        "kind", String(16), primary_key=True, comment="an outcome, wrong_clock, or fork (which is not folded)"
    ),
    Column("lane_id", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("admission_id", Bytes, primary_key=True, comment="the use in excess"),
    Column("key", Bytes(16), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("first_admission_id", Bytes, nullable=False, comment="the use that stands; empty: none"),
    Column("cost_fen", BigInteger, nullable=False),
    Index("conflicts_key", "key"),
)

charges = Table(
    "charges",
    metadata,
    Column("admission_id", Bytes, primary_key=True),
    Column("key", Bytes(16), nullable=False),
    Column("fare_fen", BigInteger, nullable=False),
)

# Not folded: what was asked of the payment provider, and what it answered.

payments = Table(
    "payments",
    metadata,
    Column("admission_id", Bytes, primary_key=True, comment="of the passage that is paid for"),
    Column("key", Bytes(16), nullable=False),
    Column("order_id", String(64), nullable=False, comment="empty: on the credit line"),
    Column("fare_fen", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_s", BigInteger, nullable=False),
    Column("reference", Text, nullable=False, comment="the provider's number of it"),
    Index("payments_state", "state", "next_try_s"),
    Index("payments_key", "key"),
)

payment_entries = Table(
    "payment_entries",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at_s", BigInteger, nullable=False),
    Column("admission_id", Bytes, nullable=False, index=True),
    Column("what", String(16), nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
    comment="Rows are added, and never changed.",
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("key", Bytes(16), primary_key=True),
    Column("per_visit_fen", BigInteger, nullable=False, comment="what the credit line gave before"),
    Column("since_s", BigInteger, nullable=False),
)

taken_shares = Table(
    "taken_shares",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("seq_no", BigInteger, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("inside", BigInteger, nullable=False, server_default="0"),
    Column("today", BigInteger, nullable=False, server_default="0"),
    Column("after_seq_no", BigInteger, nullable=False, server_default="0"),
    Column(
        "day_start_ms", BigInteger, nullable=False, server_default="0", comment="0: only the number is known"
    ),
    Column("next_inside", BigInteger, nullable=False, server_default="0"),
    Column("next_today", BigInteger, nullable=False, server_default="0"),
)

# Given to the boxes: not folded.

shares = Table(
    "shares",
    metadata,
    Column("box_id", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("site_id", String(64), nullable=False),
    Column("inside", BigInteger, nullable=False),
    Column("today", BigInteger, nullable=False),
    Column("after_seq_no", BigInteger, nullable=False),
    Column("day_start_ms", BigInteger, nullable=False),
    Column("next_inside", BigInteger, nullable=False),
    Column("next_today", BigInteger, nullable=False),
    comment="What boxes may let in by their share of the capacity; the newest taken and what came after it.",
)

# Lists as they were built.

lists = Table(
    "lists",
    metadata,
    Column("site_id", String(64), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("as_of_s", BigInteger, nullable=False),
    Column("sha256", Bytes(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("packed_bytes", BigInteger, nullable=False, server_default="0", comment="0: only as it is"),
    Column("revision", BigInteger, nullable=False, comment="of the rights it holds"),
    Column("folded", BigInteger, nullable=False, comment="ledger entries its counters include"),
    Column(
        "policy_sha256", Bytes(32), nullable=False, server_default="", comment="of the policy document in it"
    ),
)
