"""What boxes say that they were given with the shares they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns."""
    for name in ("inside", "today", "after_seq_no", "next_inside", "next_today"):
        op.add_column("taken_shares", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column(
        "taken_shares",
        sa.Column(
            "day_start_ms",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="0: only the number is known",
        ),
    )
