"""The tables. The same on SQLite and PostgreSQL; `migrations/` makes them, a test holds the two together.

Times are BIGINT microseconds since the epoch, UTC. Enums are SMALLINT with the numbers of the contract. Secrets are
digests, credentials sealed. Everything that belongs to an application begins its key with `app_id`, except what hangs
on a message, which begins with `message_ref`: a number of ours that is never shown.
"""

from bellhop_server.store.tables.columns import metadata
from bellhop_server.store.tables.messages import batches, messages, outcome_counts, payloads, request_ids, results
from bellhop_server.store.tables.registry import (
    applications,
    binding_generations,
    counters,
    credentials,
    devices,
    grant_uses,
    revocations,
    seals,
    secrets,
)
from bellhop_server.store.tables.tags import interaction_counts, interactions, subscriptions, tags

__all__ = [
    "applications",
    "batches",
    "binding_generations",
    "counters",
    "credentials",
    "devices",
    "grant_uses",
    "interaction_counts",
    "interactions",
    "messages",
    "metadata",
    "outcome_counts",
    "payloads",
    "request_ids",
    "results",
    "revocations",
    "seals",
    "secrets",
    "subscriptions",
    "tags",
]
