"""Cursors of streams: a message's own number, as opaque text that belongs to that message alone."""

from bellhop_server.domain.errors import CursorInvalid
from bellhop_server.rpc.opaque import seal, unseal

_VERSION = b"\x01"
_MOST = 2**63 - 1  # What a database counts to.


def cursor_of(app_id: str, message_id: str, seq: int) -> str:
    """The cursor of an event."""
    return seal(_VERSION + seq.to_bytes(8), _owner(app_id, message_id))


def seq_of(app_id: str, message_id: str, cursor: str) -> int:
    """The number in a cursor; 0 for an empty one. Raises CursorInvalid."""
    if not cursor:
        return 0
    value = unseal(cursor, _owner(app_id, message_id))
    if value is None or len(value) != 9 or value[:1] != _VERSION:
        raise CursorInvalid(message_id)
    seq = int.from_bytes(value[1:])
    if seq > _MOST:
        raise CursorInvalid(message_id)
    return seq


def _owner(app_id: str, message_id: str) -> bytes:
    return f"cursor\0{app_id}\0{message_id}".encode()
