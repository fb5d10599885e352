"""Holders' phones, whose vouchers a sale is, companions of a use, and which policy a list carries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "holders",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False, comment="of a ticket or a subject"),
        sa.Column(
            "holder_key", sa.LargeBinary(length=33), nullable=False, comment="the phone's, a point of SEC 1"
        ),
        sa.Column("bound_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.add_column(
        "sales",
        sa.Column(
            "merchant",
            sa.String(length=64),
            nullable=False,
            server_default="",
            comment="whose vouchers they are",
        ),
    )
    op.add_column(
        "lists",
        sa.Column(
            "policy_sha256",
            sa.LargeBinary(length=32),
            nullable=False,
            server_default="",
            comment="of the policy document in it",
        ),
    )
    op.add_column("uses", sa.Column("companions", sa.Integer(), nullable=False, server_default="0"))
