"""Tags, subscriptions, and what people did with notifications.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    identifier = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
    op.create_table(
        "tags",
        sa.Column("app_id", identifier, nullable=False),
        sa.Column("tag_name", identifier, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "tag_name", name="pk_tags"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("app_id", identifier, nullable=False),
        sa.Column("subscription_id", identifier, nullable=False),
        sa.Column("tag_name", identifier, nullable=False),
        sa.Column("device_id", identifier),
        sa.Column("user_id", sa.Text()),
        sa.Column("user_key", sa.LargeBinary(length=32)),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("begin_number", sa.BigInteger(), nullable=False),
        sa.Column("end_number", sa.BigInteger()),
        sa.Column("remove_time", sa.BigInteger()),
        sa.PrimaryKeyConstraint("app_id", "subscription_id", "begin_number", name="pk_subscriptions"),
    )
    op.create_index("ix_subscriptions_device_id", "subscriptions", ["app_id", "device_id"])
    op.create_index("ix_subscriptions_user_key", "subscriptions", ["app_id", "user_key"])
    for name, columns, filled in (
        ("ix_subscriptions_tag_device", ["app_id", "tag_name", "device_id"], "device_id"),
        ("ix_subscriptions_tag_user", ["app_id", "tag_name", "user_key"], "user_key"),
        ("ix_subscriptions_remove_time", ["remove_time"], "remove_time"),
    ):
        where = sa.text(f"{filled} IS NOT NULL")
        op.create_index(name, "subscriptions", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "interactions",
        sa.Column("message_ref", sa.BigInteger(), nullable=False),
        sa.Column("device_id", identifier, nullable=False),
        sa.Column("interaction", sa.SmallInteger(), nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("occur_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_ref", "device_id", "interaction", name="pk_interactions"),
    )
    op.create_table(
        "interaction_counts",
        sa.Column("message_ref", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("interaction", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("message_ref", "platform", "interaction", name="pk_interaction_counts"),
    )
