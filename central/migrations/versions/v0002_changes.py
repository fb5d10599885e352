"""Withdrawn keys, and rights by the revision of their last change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_CHANGING = ("products", "tickets", "memberships", "credit_lines")


def upgrade() -> None:
    """Add the table and the indexes, and have all lists built anew: those before say no revision."""
    op.create_table(
        "withdrawn_keys",
        sa.Column("key_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("withdrawn_s", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
        comment="Issuer keys that are not trusted any more.",
    )
    for table in _CHANGING:
        op.create_index(f"{table}_revision", table, ["revision"])
    op.execute("DELETE FROM lists")
