"""Numbers that are never given twice."""

from sqlalchemy import Connection, text

_NEXT = text(
    "INSERT INTO counters (name, value) VALUES (:name, :count) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value + :count RETURNING value"
)


def next_number(connection: Connection, name: str, count: int = 1) -> int:
    """Takes `count` numbers of that name and returns the last of them; the first ever is 1.

    Whoever asks for the same name waits until this transaction ends.
    """
    number: int = connection.execute(_NEXT, {"name": name, "count": count}).scalar_one()
    return number
