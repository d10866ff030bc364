"""What binds a device, which grants have, and the keys of stamps.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    identifier = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
    op.add_column("applications", sa.Column("binding_policy", sa.SmallInteger(), server_default="3", nullable=False))
    op.add_column("devices", sa.Column("sealed_binding_key", sa.LargeBinary()))
    op.create_table(
        "grant_uses",
        sa.Column("app_id", identifier, nullable=False),
        sa.Column("grant_id", identifier, nullable=False),
        sa.Column("device_id", identifier, nullable=False),
        sa.Column("binding_epoch", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "grant_id", name="pk_grant_uses"),
    )
    op.create_index("ix_grant_uses_expire_time", "grant_uses", ["expire_time"])
