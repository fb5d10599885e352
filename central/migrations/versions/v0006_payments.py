"""The book of payments, and the credit lines that a default has suspended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "payments",
        sa.Column(
            "admission_id", sa.LargeBinary(), nullable=False, comment="of the passage that is paid for"
        ),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False, comment="empty: on the credit line"),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_s", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False, comment="the provider's number of it"),
        sa.PrimaryKeyConstraint("admission_id"),
    )
    op.create_index("payments_state", "payments", ["state", "next_try_s"])
    op.create_index("payments_key", "payments", ["key"])
    op.create_table(
        "payment_entries",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("admission_id", sa.LargeBinary(), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        comment="Rows are added, and never changed.",
    )
    op.create_index("ix_payment_entries_admission_id", "payment_entries", ["admission_id"])
    op.create_table(
        "suspensions",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "per_visit_fen", sa.BigInteger(), nullable=False, comment="what the credit line gave before"
        ),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
