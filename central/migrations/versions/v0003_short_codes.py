"""The short code of a ticket, beside what its signed code is made from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; tickets that were sold before have no short code."""
    op.add_column("sold_tickets", sa.Column("short_code", sa.String(length=13)))
