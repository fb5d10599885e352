"""Uses by what they were let in on: the few free visits and those on credit, among all those on tickets."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the index."""
    op.create_index("uses_basis", "uses", ["basis", "key"])
