"""Pages of lists: sizes, tokens, and where a page is cut."""

import json
import re
from collections.abc import AsyncIterator
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message

from bellhop_server.domain.errors import PageTokenInvalid
from bellhop_server.rpc.opaque import seal, unseal

MAX_PAGE_BYTES = 2 * 1024 * 1024

Position = list[str | int]
"""Where a page ended, in the terms of the list: what its next row must be greater than."""

Form = tuple[type[str] | type[int], ...]
"""What the positions of a list are made of: ids (`str`) and numbers that a database counts (`int`)."""

BY_ID: Form = (str,)
BY_NUMBER: Form = (int,)
BY_TIME_AND_NUMBER: Form = (int, int)

# A token is no signature: whatever it holds, nothing but what a list may have told reaches the database.
_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_MOST = 2**63 - 1


class ListRequest(Protocol):
    """What every list request has."""

    page_size: int
    page_token: str


M = TypeVar("M", bound=Message)


class Paging:
    """One page of a list, as it was asked for.

    Raises PageTokenInvalid: not a token of ours, or any field but `page_size` differs from that of the page before.
    """

    def __init__(self, request: Message, app_id: str, form: Form, *, default: int, most: int) -> None:
        asked = cast(ListRequest, request)
        self.size = min(asked.page_size or default, most)
        self._owner = _owner(request, app_id)
        self.after = self._position(asked.page_token, form)

    def _position(self, token: str, form: Form) -> Position | None:
        if not token:
            return None
        value = unseal(token, self._owner)
        position = None if value is None else _read(value)
        if position is None or len(position) != len(form) or not all(map(_fits, position, form)):
            raise PageTokenInvalid()
        return cast(Position, position)

    def token(self, last: Position) -> str:
        """The token of the page that follows this row."""
        return seal(json.dumps(last, separators=(",", ":")).encode(), self._owner)

    async def fill(self, rows: AsyncIterator[tuple[M, Position]]) -> tuple[list[M], str]:
        """As many rows as go on the page, at least one if there is any, and the token of the next page, or none."""
        page: list[M] = []
        last: Position = []
        room = MAX_PAGE_BYTES
        async for row, position in rows:
            room -= row.ByteSize()
            if page and (len(page) == self.size or room < 0):
                return page, self.token(last)
            page.append(row)
            last = position
        return page, ""


def _read(value: bytes) -> list[object] | None:
    """The list that is written there; None: something else is."""
    try:
        position = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return position if isinstance(position, list) else None


def _fits(part: object, kind: type[str] | type[int]) -> bool:
    if isinstance(part, str):
        return kind is str and _ID.fullmatch(part) is not None
    # JSON's true and false would count as numbers.
    return kind is int and type(part) is int and 0 <= part <= _MOST


def _owner(request: Message, app_id: str) -> bytes:
    """What a token belongs to: the method, the application and the other fields of the request."""
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("page_size")
    rest.ClearField("page_token")
    name = request.DESCRIPTOR.full_name
    return f"page\0{name}\0{app_id}\0".encode() + rest.SerializeToString(deterministic=True)
