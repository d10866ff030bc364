"""Bindings that end, schedules and cancellations, lanes of batches.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As in `tables.py` at that time.
ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    """Applies it."""
    op.add_column("applications", sa.Column("default_binding_ttl", sa.BigInteger()))
    op.add_column("devices", sa.Column("session_id", sa.Text(), server_default="", nullable=False))
    op.add_column("devices", sa.Column("binding_expire_time", sa.BigInteger()))
    op.create_index(
        "ix_devices_binding_expire_time",
        "devices",
        ["binding_expire_time"],
        sqlite_where=sa.text("binding_expire_time IS NOT NULL"),
        postgresql_where=sa.text("binding_expire_time IS NOT NULL"),
    )
    op.create_table(
        "binding_generations",
        sa.Column("app_id", ID, nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("seen_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "device_id", name="pk_binding_generations"),
    )
    op.create_index("ix_binding_generations_seen_time", "binding_generations", ["seen_time"])
    op.create_table(
        "revocations",
        sa.Column("app_id", ID, nullable=False),
        sa.Column("user_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("revoke_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "user_key", "session_id", name="pk_revocations"),
    )
    op.create_index("ix_revocations_revoke_time", "revocations", ["revoke_time"])
    op.add_column("messages", sa.Column("fire_time", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("messages", sa.Column("cancel_time", sa.BigInteger()))
    op.execute("UPDATE messages SET fire_time = accept_time")
    op.drop_index("ix_messages_unplanned", "messages")
    op.create_index(
        "ix_messages_unplanned",
        "messages",
        ["state", "priority", "fire_time", "ref"],
        sqlite_where=sa.text("planned = 0"),
        postgresql_where=sa.text("NOT planned"),
    )
    op.drop_index("ix_batches_claim", "batches")
    op.drop_index("ix_batches_retry", "batches")
    op.execute("ALTER TABLE batches RENAME COLUMN due_time TO turn")
    op.add_column("batches", sa.Column("interruptions", sa.SmallInteger(), server_default="0", nullable=False))
    op.execute("UPDATE batches SET interruptions = 1 WHERE in_doubt")
    op.drop_column("batches", "in_doubt")
    op.create_index(
        "ix_batches_waiting",
        "batches",
        ["app_id", "priority", "retry", "turn", "batch_id"],
        sqlite_where=sa.text("lease_until = 0"),
        postgresql_where=sa.text("lease_until = 0"),
    )
    op.create_index(
        "ix_batches_leased",
        "batches",
        ["lease_until"],
        sqlite_where=sa.text("lease_until > 0"),
        postgresql_where=sa.text("lease_until > 0"),
    )
    op.create_index("ix_batches_message", "batches", ["message_ref", "retry"])
