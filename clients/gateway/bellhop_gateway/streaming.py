"""Answers that come one by one: as lines of JSON (NDJSON), or as server-sent events.

https://github.com/ndjson/ndjson-spec; HTML, "Server-sent events".
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from bellhop_gateway.errors import Refused

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"

# Proxies are to pass each on as it comes.
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def as_json(message: Message) -> dict[str, Any]:
    """Proto3 JSON. A number that is 0 or a flag that is false is there, so that nobody has to know of defaults."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


async def respond(headers: Headers, messages: AsyncGenerator[Message]) -> Response:
    """Answers as the client would have them. Raises Refused when it ends before the first."""
    kind = EVENTS if EVENTS in headers.get("accept", "") else LINES
    try:
        first = await anext(messages, None)
    except BaseException:
        await messages.aclose()
        raise
    return StreamingResponse(_written(kind, first, messages), media_type=kind, headers=_HEADERS)


async def _written(kind: str, first: Message | None, messages: AsyncGenerator[Message]) -> AsyncIterator[str]:
    write = _event if kind == EVENTS else _line
    async with aclosing(messages):
        if first is None:
            return
        yield write(first)
        try:
            async for message in messages:
                yield write(message)
        except Refused as refused:
            # The status has gone out: the last line says what it cannot say any more.
            yield f"event: error\ndata: {refused.text()}\n\n" if kind == EVENTS else f"{refused.text()}\n"


def _line(message: Message) -> str:
    return f"{_compact(message)}\n"


def _event(message: Message) -> str:
    name, cursor = "", ""
    event = getattr(message, "event", None)
    if event is not None:
        name, cursor = event.WhichOneof("event") or "", event.cursor
    lines = [f"id: {cursor}"] if cursor else []
    lines += [f"event: {name}"] if name else []
    return "\n".join([*lines, f"data: {_compact(message)}", "", ""])


def _compact(message: Message) -> str:
    return json.dumps(as_json(message), ensure_ascii=False, separators=(",", ":"))
