"""When entries were received, what is known of the boxes' clocks, and how large packed lists are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "ledger",
        sa.Column(
            "received_ms",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="0: before this was noted",
        ),
    )
    op.add_column(
        "fold_positions",
        sa.Column(
            "latest_ms",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="by the box's clock, if it can be",
        ),
    )
    op.add_column(
        "fold_positions",
        sa.Column("is_clock_wrong", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "lists",
        sa.Column(
            "packed_bytes", sa.BigInteger(), nullable=False, server_default="0", comment="0: only as it is"
        ),
    )
