"""Targets of FCM and Web Push, refused keys, proofs of a target.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    op.add_column("devices", sa.Column("supplement", sa.Text(), server_default="", nullable=False))
    op.add_column("devices", sa.Column("vapid_public_key", sa.String(128), server_default="", nullable=False))
    op.add_column("devices", sa.Column("refusals", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("devices", sa.Column("refused_since", sa.BigInteger()))
    op.add_column("devices", sa.Column("nonce_digest", sa.LargeBinary(length=32)))
    op.add_column("devices", sa.Column("nonce_time", sa.BigInteger()))
