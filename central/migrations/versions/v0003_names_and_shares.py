"""A ticket's short code, what gave a right, and the boxes' shares of a site's capacity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them; tickets that were sold before have no short code, and uses from before name nothing."""
    op.add_column("sold_tickets", sa.Column("short_code", sa.String(length=13)))
    op.add_column("uses", sa.Column("granted_by", sa.Text(), nullable=False, server_default=""))
    op.create_index("uses_box", "uses", ["box_id", "seq_no"])
    op.create_table(
        "shares",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("inside", sa.BigInteger(), nullable=False),
        sa.Column("today", sa.BigInteger(), nullable=False),
        sa.Column("after_seq_no", sa.BigInteger(), nullable=False),
        sa.Column("day_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_inside", sa.BigInteger(), nullable=False),
        sa.Column("next_today", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "number"),
        comment="What boxes may let in by their share of the capacity; the newest taken and what came after it.",
    )
    op.create_table(
        "taken_shares",
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "seq_no"),
    )
