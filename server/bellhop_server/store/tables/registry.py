"""Tables of applications, their secrets and credentials, and their devices."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)

from bellhop_server.store.tables.columns import Id, Time, metadata

applications = Table(
    "applications",
    metadata,
    Column("app_id", Id, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("anonymous_policy", SmallInteger, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("default_binding_ttl", Time),
    Column("binding_policy", SmallInteger, nullable=False, server_default="3"),
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
    Column("supplement", Text, nullable=False, server_default=""),
    Column("vapid_public_key", String(128), nullable=False, server_default=""),
    Column("refusals", SmallInteger, nullable=False, server_default="0"),
    Column("refused_since", Time),
    Column("nonce_digest", LargeBinary(32)),
    Column("nonce_time", Time),
    Column("sealed_binding_key", LargeBinary),
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

# Bind grants that have bound a device, as long as they could be shown again: the same device may, while its binding
# stands.
grant_uses = Table(
    "grant_uses",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("grant_id", Id, nullable=False),
    Column("device_id", Id, nullable=False),
    Column("binding_epoch", BigInteger, nullable=False),
    Column("expire_time", Time, nullable=False),
    PrimaryKeyConstraint("app_id", "grant_id"),
    Index(None, "expire_time"),
)

# Numbers that are never given twice, by name (`binding_epoch`). A row, not a sequence: the same on both databases.
counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
