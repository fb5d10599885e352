"""One-time invitations, the certificates that boxes got for them, and boxes that are shut out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column and the tables."""
    op.add_column(
        "boxes",
        sa.Column("barred_s", sa.BigInteger(), comment="since when no broker lets it in; null: it is let in"),
    )
    op.create_table(
        "invitations",
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("used_by", sa.LargeBinary(length=32), comment="digest of the request that it was used for"),
        sa.Column("certificate", sa.Text(), comment="what was answered, in case the answer was lost"),
        sa.PrimaryKeyConstraint("secret_sha256"),
        comment="One-time tokens with which boxes enrol.",
    )
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(length=40), nullable=False, comment="hex"),
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("revoked_s", sa.BigInteger()),
        sa.PrimaryKeyConstraint("serial"),
        comment="What the authority has issued to boxes.",
    )
    op.create_index("ix_certificates_box_id", "certificates", ["box_id"])
