"""Documents with their holders and tickets, credit orders, and what providers have found about visitors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "documents",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False, comment="the document's keyed hash"),
        sa.Column(
            "holder", sa.LargeBinary(length=16), nullable=False, comment="the key of a subject or a ticket"
        ),
        sa.Column("is_ticket", sa.Boolean(), nullable=False),
        sa.Column("is_linked", sa.Boolean(), nullable=False, comment="false: removed"),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "holder"),
        sqlite_with_rowid=False,
    )
    op.create_index("documents_revision", "documents", ["revision"])
    op.create_table(
        "clearances",
        sa.Column(
            "key", sa.LargeBinary(length=16), nullable=False, comment="of a subject, a document or a ticket"
        ),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("colour", sa.String(length=16), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "provider"),
        sqlite_with_rowid=False,
        comment="Empty unless the policy asks for clearance.",
    )
    op.create_index("clearances_revision", "clearances", ["revision"])
    op.create_table(
        "credit_orders",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False, comment="0: cancelled"),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "order_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("credit_orders_revision", "credit_orders", ["revision"])
