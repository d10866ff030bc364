"""Tables of tags, of who is subscribed to them, and of what people did with notifications."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text

from bellhop_server.store.tables.columns import Id, Time, metadata

# Those that were made; the built-in one is nowhere.
tags = Table(
    "tags",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("tag_name", Id, nullable=False),
    Column("description", Text, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    PrimaryKeyConstraint("app_id", "tag_name"),
)

# Of a device (`device_id`) or of a user (`user_id`, `user_key`), one row for each time: `begin_number` and, once it has
# ended, `end_number` are taken from one count, in the order of the commits. So it can be told who had a tag when an
# audience began to be read, for as long as what has ended stays (`remove_time`).
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("subscription_id", Id, nullable=False),
    Column("tag_name", Id, nullable=False),
    Column("device_id", Id),
    Column("user_id", Text),
    Column("user_key", LargeBinary(32)),
    Column("create_time", Time, nullable=False),
    Column("begin_number", BigInteger, nullable=False),
    Column("end_number", BigInteger),
    Column("remove_time", Time),
    PrimaryKeyConstraint("app_id", "subscription_id", "begin_number"),
    Index("ix_subscriptions_device_id", "app_id", "device_id"),
    Index("ix_subscriptions_user_key", "app_id", "user_key"),
)

# Who has a tag, in the order in which an audience is read.
Index(
    "ix_subscriptions_tag_device",
    subscriptions.c.app_id,
    subscriptions.c.tag_name,
    subscriptions.c.device_id,
    sqlite_where=subscriptions.c.device_id.is_not(None),
    postgresql_where=subscriptions.c.device_id.is_not(None),
)
Index(
    "ix_subscriptions_tag_user",
    subscriptions.c.app_id,
    subscriptions.c.tag_name,
    subscriptions.c.user_key,
    sqlite_where=subscriptions.c.user_key.is_not(None),
    postgresql_where=subscriptions.c.user_key.is_not(None),
)
Index(
    "ix_subscriptions_remove_time",
    subscriptions.c.remove_time,
    sqlite_where=subscriptions.c.remove_time.is_not(None),
    postgresql_where=subscriptions.c.remove_time.is_not(None),
)

# What a device has reported of a message, each kind once.
interactions = Table(
    "interactions",
    metadata,
    Column("message_ref", BigInteger, nullable=False),
    Column("device_id", Id, nullable=False),
    Column("interaction", SmallInteger, nullable=False),
    Column("platform", SmallInteger, nullable=False),
    Column("occur_time", Time, nullable=False),
    PrimaryKeyConstraint("message_ref", "device_id", "interaction"),
)

# How many devices have reported each.
interaction_counts = Table(
    "interaction_counts",
    metadata,
    Column("message_ref", BigInteger, nullable=False),
    Column("platform", SmallInteger, nullable=False),
    Column("interaction", SmallInteger, nullable=False),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("message_ref", "platform", "interaction"),
)
