"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    _rights()
    _boxes()
    _folded()
    _lists()


def _rights() -> None:
    op.create_table(
        "store_facts",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        comment="What the store says of itself: store_id, revision.",
    )
    op.create_table(
        "products",
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name_zh", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("site_ids", sa.Text(), nullable=False, comment="a JSON array, sorted"),
        sa.Column(
            "terms", sa.Text(), server_default="", nullable=False, comment="a JSON object; empty: plain"
        ),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "tickets",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False, comment="empty: this centre"),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("refunded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("valid_from_s", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_s", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), server_default="valid", nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product"],
            ["products.code"],
        ),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sales",
        sa.Column(
            "sale_id",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="the hash of the client's idempotency key",
        ),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sold_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sale_id"),
    )
    op.create_table(
        "sold_tickets",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("ticket_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sale_id", sa.LargeBinary(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["key"],
            ["tickets.key"],
        ),
        sa.ForeignKeyConstraint(
            ["sale_id"],
            ["sales.sale_id"],
        ),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("ticket_id"),
        comment="Tickets of this centre: what their codes are made from again.",
    )
    op.create_index(op.f("ix_sold_tickets_sale_id"), "sold_tickets", ["sale_id"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "group_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credit_lines",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("limit_fen", sa.BigInteger(), nullable=False),
        sa.Column("per_visit_fen", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )


def _boxes() -> None:
    op.create_table(
        "boxes",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id"),
    )
    op.create_table(
        "presence",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="by the box's clock"),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("health", sa.Text(), nullable=False, comment="a JSON object, or null"),
        sa.ForeignKeyConstraint(
            ["box_id"],
            ["boxes.box_id"],
        ),
        sa.PrimaryKeyConstraint("box_id"),
    )
    op.create_table(
        "ledger",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "seq_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "diary",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("lane_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_index("diary_at", "diary", ["at_ms"], unique=False)
    op.create_table(
        "set_aside",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "stream", "number"),
        comment="Signed entries that this version cannot read.",
    )
    op.create_table(
        "forks",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the message"),
        sa.Column("seq_no", sa.BigInteger(), nullable=False, comment="where the box's history leaves ours"),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "digest"),
    )
    op.create_table(
        "rejections",
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("problem", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "problem"),
        comment="Messages that could not be believed, by topic and kind.",
    )


def _folded() -> None:
    op.create_table(
        "fold_positions",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id"),
    )
    op.create_table(
        "uses",
        sa.Column("admission_id", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("basis", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("lane_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.Column("risk", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("list_version", sa.BigInteger(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("admission_id"),
    )
    op.create_index("uses_at", "uses", ["at_ms"], unique=False)
    op.create_index("uses_key", "uses", ["key"], unique=False)
    op.create_table(
        "closings",
        sa.Column("admission_id", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("admission_id", "outcome"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "resumptions",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("admission_id", sa.LargeBinary(), nullable=False),
        sa.Column("lane_id", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "seq_no"),
    )
    op.create_table(
        "overrides",
        sa.Column("admission_id", sa.LargeBinary(), nullable=False),
        sa.Column("refused_record", sa.String(length=64), nullable=False),
        sa.Column("staff_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("admission_id"),
        comment="Admissions that a member of staff decided.",
    )
    op.create_index("overrides_staff", "overrides", ["staff_id", "at_ms"])
    op.create_table(
        "incidents",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind", sa.String(length=16), nullable=False, comment="an outcome, or fork (which is not folded)"
        ),
        sa.Column("lane_id", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "seq_no", "kind"),
    )
    op.create_table(
        "conflicts",
        sa.Column("admission_id", sa.LargeBinary(), nullable=False, comment="the use in excess"),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column(
            "first_admission_id", sa.LargeBinary(), nullable=False, comment="the use that stands; empty: none"
        ),
        sa.Column("cost_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("admission_id"),
    )
    op.create_index("conflicts_key", "conflicts", ["key"], unique=False)
    op.create_table(
        "charges",
        sa.Column("admission_id", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("admission_id"),
    )


def _lists() -> None:
    op.create_table(
        "lists",
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("as_of_s", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="of the rights it holds"),
        sa.Column("folded", sa.BigInteger(), nullable=False, comment="ledger entries its counters include"),
        sa.PrimaryKeyConstraint("site_id", "version"),
    )
