"""Whose a document is, and which tickets were bought on it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
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
