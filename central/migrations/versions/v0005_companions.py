"""Companions of a use: who came in beside the persons that it counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("uses", sa.Column("companions", sa.Integer(), nullable=False, server_default="0"))
