"""Tables of messages, what is left of them to do, and what became of them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from bellhop_server.store.tables.columns import Id, Ref, Time, metadata

messages = Table(
    "messages",
    metadata,
    Column("ref", Ref, primary_key=True, autoincrement=True),
    Column("app_id", Id, nullable=False),
    Column("message_id", Id, nullable=False),
    Column("request_id", Id, nullable=False, server_default=""),
    Column("state", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("resend", SmallInteger, nullable=False),
    Column("accept_time", Time, nullable=False),
    Column("expire_time", Time, nullable=False),
    Column("complete_time", Time),
    Column("planned", Boolean, nullable=False),
    Column("plan_after", Text, nullable=False),
    Column("device_count", Integer, nullable=False),
    Column("finished_count", Integer, nullable=False),
    Column("not_registered_count", Integer, nullable=False),
    Column("result_seq", BigInteger, nullable=False),
    Column("payload_erased", Boolean, nullable=False),
    Column("fire_time", Time, nullable=False, server_default="0"),
    Column("cancel_time", Time),
    UniqueConstraint("app_id", "message_id"),
    Index(None, "app_id", "accept_time", "ref"),
    Index(None, "complete_time"),
    sqlite_autoincrement=True,
)

# What waits for its `fire_time` (its `accept_time` unless it was scheduled), and what is then to be planned.
Index(
    "ix_messages_unplanned",
    messages.c.state,
    messages.c.priority,
    messages.c.fire_time,
    messages.c.ref,
    sqlite_where=~messages.c.planned,
    postgresql_where=~messages.c.planned,
)

# What the payload's retention has still to look at.
Index(
    "ix_messages_payload",
    messages.c.complete_time,
    sqlite_where=~messages.c.payload_erased,
    postgresql_where=~messages.c.payload_erased,
)

# What was sent and to whom (JSON). Apart from its message, which is rewritten with every group of results.
payloads = Table(
    "payloads",
    metadata,
    Column("message_ref", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

# Outlives its message by a day, so that a late repeat is still no second push. A caller who gave no request id but
# named the message is known by that name here.
request_ids = Table(
    "request_ids",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("request_id", Id, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("message_id", Id, nullable=False),
    Column("message_ref", BigInteger, nullable=False),
    Column("forget_time", Time),
    PrimaryKeyConstraint("app_id", "request_id"),
    Index(None, "forget_time"),
)

# Some planned devices each, in `items` (JSON): written with the planner's cursor, claimed under a lease, deleted with
# the last of their results. `turn`: the place among those of the same application and priority, a time; a `retry` is
# due at its turn, and not given out before. `lease_until` 0: nobody holds it. `started`: its holder has begun to hand
# it over; `interruptions`: how many former holders had. `items` stands last: SQLite walks through a long value to what
# lies behind.
batches = Table(
    "batches",
    metadata,
    Column("batch_id", Ref, primary_key=True, autoincrement=True),
    Column("message_ref", BigInteger, nullable=False),
    Column("app_id", Id, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("turn", Time, nullable=False),
    Column("retry", Boolean, nullable=False),
    Column("item_count", Integer, nullable=False),
    Column("worker", String(64), nullable=False, server_default=""),
    Column("lease", String(64), nullable=False, server_default=""),
    Column("lease_until", Time, nullable=False, server_default="0"),
    Column("started", Boolean, nullable=False),
    Column("interruptions", SmallInteger, nullable=False, server_default="0"),
    Column("items", Text, nullable=False),
    sqlite_autoincrement=True,
)

# What nobody holds, by lane and turn.
Index(
    "ix_batches_waiting",
    batches.c.app_id,
    batches.c.priority,
    batches.c.retry,
    batches.c.turn,
    batches.c.batch_id,
    sqlite_where=batches.c.lease_until == 0,
    postgresql_where=batches.c.lease_until == 0,
)

# What somebody holds, or held when they died.
Index(
    "ix_batches_leased",
    batches.c.lease_until,
    sqlite_where=batches.c.lease_until > 0,
    postgresql_where=batches.c.lease_until > 0,
)

# What a message has left, and how much of that waits for another attempt.
Index("ix_batches_message", batches.c.message_ref, batches.c.retry)

results = Table(
    "results",
    metadata,
    Column("message_ref", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("device_id", Id, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("user_key", LargeBinary(32), nullable=False),
    Column("platform", SmallInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("provider_status", SmallInteger, nullable=False),
    Column("provider_message_id", Text, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("result_time", Time, nullable=False),
    Column("invalid_since", Time, nullable=False),
    PrimaryKeyConstraint("message_ref", "seq"),
    UniqueConstraint("message_ref", "device_id", "user_key"),
    sqlite_with_rowid=False,
)

# Final results of a message by network and outcome; NOT_REGISTERED stands in `messages`.
outcome_counts = Table(
    "outcome_counts",
    metadata,
    Column("message_ref", BigInteger, nullable=False),
    Column("platform", SmallInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("message_ref", "platform", "outcome"),
)
