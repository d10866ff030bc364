"""The first tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As in `tables.py` at that time.
ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
REF = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Applies it."""
    op.create_table(
        "applications",
        sa.Column("app_id", ID, nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("anonymous_policy", sa.SmallInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", name="pk_applications"),
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", REF, autoincrement=True, nullable=False),
        sa.Column("message_ref", sa.BigInteger(), nullable=False),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("due_time", sa.BigInteger(), nullable=False),
        sa.Column("retry", sa.Boolean(), nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=64), server_default="", nullable=False),
        sa.Column("lease", sa.String(length=64), server_default="", nullable=False),
        sa.Column("lease_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started", sa.Boolean(), nullable=False),
        sa.Column("in_doubt", sa.Boolean(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batches"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batches_claim", "batches", ["priority", "lease_until", "due_time", "batch_id"], unique=False)
    op.create_index(
        "ix_batches_retry",
        "batches",
        ["message_ref"],
        unique=False,
        sqlite_where=sa.text("retry = 1"),
        postgresql_where=sa.text("retry = true"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "credentials",
        sa.Column("app_id", ID, nullable=False),
        sa.Column("credential_id", ID, nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("probe_reached", sa.Boolean(), nullable=True),
        sa.Column("probe_ok", sa.Boolean(), nullable=True),
        sa.Column("probe_reason", sa.Text(), nullable=True),
        sa.Column("probe_time", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("app_id", "credential_id", name="pk_credentials"),
    )
    op.create_table(
        "devices",
        sa.Column("app_id", ID, nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("user_key", sa.LargeBinary(length=32), nullable=True),
        sa.Column("binding_epoch", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("target_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("apns_topic", sa.Text(), server_default="", nullable=False),
        sa.Column("apns_environment", sa.SmallInteger(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("app_version", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("register_time", sa.BigInteger(), nullable=False),
        sa.Column("bind_time", sa.BigInteger(), nullable=True),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("target_time", sa.BigInteger(), nullable=False),
        sa.Column("target_accepted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "device_id", name="pk_devices"),
    )
    op.create_index(
        "ix_devices_app_id_user_key_device_id", "devices", ["app_id", "user_key", "device_id"], unique=False
    )
    op.create_index(
        "ix_devices_unverified",
        "devices",
        ["app_id", "state"],
        unique=False,
        sqlite_where=sa.text("state = 3"),
        postgresql_where=sa.text("state = 3"),
    )
    op.create_index(
        "uq_devices_verified_target",
        "devices",
        ["app_id", "target_digest"],
        unique=True,
        sqlite_where=sa.text("state != 3"),
        postgresql_where=sa.text("state != 3"),
    )
    op.create_table(
        "messages",
        sa.Column("ref", REF, autoincrement=True, nullable=False),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("request_id", ID, server_default="", nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("resend", sa.SmallInteger(), nullable=False),
        sa.Column("accept_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.Column("complete_time", sa.BigInteger(), nullable=True),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("plan_after", sa.Text(), nullable=False),
        sa.Column("device_count", sa.Integer(), nullable=False),
        sa.Column("finished_count", sa.Integer(), nullable=False),
        sa.Column("not_registered_count", sa.Integer(), nullable=False),
        sa.Column("result_seq", sa.BigInteger(), nullable=False),
        sa.Column("payload_erased", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name="pk_messages"),
        sa.UniqueConstraint("app_id", "message_id", name="uq_messages_app_id_message_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_app_id_accept_time_ref", "messages", ["app_id", "accept_time", "ref"], unique=False)
    op.create_index("ix_messages_complete_time", "messages", ["complete_time"], unique=False)
    op.create_index(
        "ix_messages_payload",
        "messages",
        ["complete_time"],
        unique=False,
        sqlite_where=sa.text("payload_erased = 0"),
        postgresql_where=sa.text("NOT payload_erased"),
    )
    op.create_index(
        "ix_messages_unplanned",
        "messages",
        [sa.literal_column("priority DESC"), "ref"],
        unique=False,
        sqlite_where=sa.text("planned = 0"),
        postgresql_where=sa.text("NOT planned"),
    )
    op.create_table(
        "outcome_counts",
        sa.Column("message_ref", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("message_ref", "platform", "outcome", name="pk_outcome_counts"),
    )
    op.create_table(
        "payloads",
        sa.Column("message_ref", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message_ref", name="pk_payloads"),
    )
    op.create_table(
        "request_ids",
        sa.Column("app_id", ID, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("message_ref", sa.BigInteger(), nullable=False),
        sa.Column("forget_time", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("app_id", "request_id", name="pk_request_ids"),
    )
    op.create_index("ix_request_ids_forget_time", "request_ids", ["forget_time"], unique=False)
    op.create_table(
        "results",
        sa.Column("message_ref", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("user_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("provider_status", sa.SmallInteger(), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("result_time", sa.BigInteger(), nullable=False),
        sa.Column("invalid_since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_ref", "seq", name="pk_results"),
        sa.UniqueConstraint("message_ref", "device_id", "user_key", name="uq_results_message_ref_device_id_user_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seals",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_seals"),
    )
    op.create_table(
        "secrets",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("app_id", ID, nullable=False),
        sa.Column("device_id", ID, server_default="", nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("secret_id", ID, server_default="", nullable=False),
        sa.Column("hint", sa.String(length=8), server_default="", nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=True),
        sa.Column("last_use_time", sa.BigInteger(), nullable=True),
        sa.Column("retire_time", sa.BigInteger(), nullable=True),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "app_id", "device_id", name="pk_secrets"),
    )
    op.create_index(
        "ix_secrets_app_id_device_id_retire_time", "secrets", ["app_id", "device_id", "retire_time"], unique=False
    )
    op.create_index(
        "ix_secrets_secret_id",
        "secrets",
        ["secret_id"],
        unique=False,
        sqlite_where=sa.text("secret_id != ''"),
        postgresql_where=sa.text("secret_id != ''"),
    )
