"""The tables. The same on SQLite and PostgreSQL; `migrations/` makes them, a test holds the two together.

Times are BIGINT microseconds since the epoch, UTC. Enums are SMALLINT with the numbers of the contract. Secrets are
digests, credentials sealed. Everything that belongs to an application begins its key with `app_id`, except what hangs
on a message, which begins with `message_ref`: a number of ours that is never shown.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Ids sort by code point on both databases: SQLite's BINARY does, PostgreSQL's "C" does.
Id = String(128).with_variant(String(128, collation="C"), "postgresql")
# SQLite fills only an INTEGER PRIMARY KEY by itself.
Ref = BigInteger().with_variant(Integer, "sqlite")
Time = BigInteger

applications = Table(
    "applications",
    metadata,
    Column("app_id", Id, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("anonymous_policy", SmallInteger, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("default_binding_ttl", Time),
)

# Client, app and device secrets together, so that one look-up by digest finds whatever a caller presents. A device's
# secret may have been another device's before (a token that moved with its proof), hence the key. `retire_time`: when
# a device secret was replaced or its device went; in the latter case `expire_time` is until when UnregisterDevice
# alone still takes it. `pending`: a device secret not used yet; its first use retires the others. Retired ones pile
# up and are hardly ever looked at, hence `retire_time` in the index.
secrets = Table(
    "secrets",
    metadata,
    Column("digest", LargeBinary(32), nullable=False),
    Column("app_id", Id, nullable=False),
    Column("device_id", Id, nullable=False, server_default=""),
    Column("kind", SmallInteger, nullable=False),
    Column("secret_id", Id, nullable=False, server_default=""),
    Column("hint", String(8), nullable=False, server_default=""),
    Column("create_time", Time, nullable=False),
    Column("expire_time", Time),
    Column("last_use_time", Time),
    Column("retire_time", Time),
    Column("pending", Boolean, nullable=False),
    PrimaryKeyConstraint("digest", "app_id", "device_id"),
    Index(None, "app_id", "device_id", "retire_time"),
)

# Client and app secrets by their id; devices' secrets have none.
Index(
    "ix_secrets_secret_id",
    secrets.c.secret_id,
    sqlite_where=secrets.c.secret_id != "",
    postgresql_where=secrets.c.secret_id != "",
)

credentials = Table(
    "credentials",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("credential_id", Id, nullable=False),
    Column("platform", SmallInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("probe_reached", Boolean),
    Column("probe_ok", Boolean),
    Column("probe_reason", Text),
    Column("probe_time", Time),
    PrimaryKeyConstraint("app_id", "credential_id"),
)

# Known texts, sealed under the master key: whoever cannot open `canary` has the wrong key.
seals = Table(
    "seals",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("device_id", Id, nullable=False),
    Column("user_id", Text),
    Column("user_key", LargeBinary(32)),
    Column("binding_epoch", BigInteger, nullable=False),
    Column("platform", SmallInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("target_digest", LargeBinary(32), nullable=False),
    Column("apns_topic", Text, nullable=False, server_default=""),
    Column("apns_environment", SmallInteger),
    Column("locale", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("app_version", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("register_time", Time, nullable=False),
    Column("bind_time", Time),
    Column("update_time", Time, nullable=False),
    Column("target_time", Time, nullable=False),
    Column("target_accepted", Boolean, nullable=False),
    Column("session_id", Text, nullable=False, server_default=""),
    Column("binding_expire_time", Time),
    PrimaryKeyConstraint("app_id", "device_id"),
    Index(None, "app_id", "user_key", "device_id"),
)

# One verified device per target: an UNVERIFIED newcomer may name a token that is somebody else's.
Index(
    "uq_devices_verified_target",
    devices.c.app_id,
    devices.c.target_digest,
    unique=True,
    sqlite_where=devices.c.state != 3,
    postgresql_where=devices.c.state != 3,
)

# Counts the UNVERIFIED ones without looking at the others. SQLite prefers it only if it holds the state too.
Index(
    "ix_devices_unverified",
    devices.c.app_id,
    devices.c.state,
    sqlite_where=devices.c.state == 3,
    postgresql_where=devices.c.state == 3,
)

# Bindings that end by themselves, the next to end first.
Index(
    "ix_devices_binding_expire_time",
    devices.c.binding_expire_time,
    sqlite_where=devices.c.binding_expire_time.is_not(None),
    postgresql_where=devices.c.binding_expire_time.is_not(None),
)

# The highest `binding_generation` that a device's app has shown, so that a late duplicate of an older login or logout
# is known as one, also after the device has gone.
binding_generations = Table(
    "binding_generations",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("device_id", Id, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("seen_time", Time, nullable=False),
    PrimaryKeyConstraint("app_id", "device_id"),
    Index(None, "seen_time"),
)

# When all logins of a user, or those of one session (`session_id` not empty), were ended: a registration that had been
# asked for before that binds nobody.
revocations = Table(
    "revocations",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("user_key", LargeBinary(32), nullable=False),
    Column("session_id", Text, nullable=False),
    Column("revoke_time", Time, nullable=False),
    PrimaryKeyConstraint("app_id", "user_key", "session_id"),
    Index(None, "revoke_time"),
)

# Numbers that are never given twice, by name (`binding_epoch`). A row, not a sequence: the same on both databases.
counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

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
# it over; `in_doubt`: a former holder had. `items` stands last: SQLite walks through a long value to what lies behind.
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
    Column("in_doubt", Boolean, nullable=False),
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
