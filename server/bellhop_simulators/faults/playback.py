"""Plays an answer over a connection the way a fault wants it. Knows nothing of any provider."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate

from bellhop_simulators.faults.actions import Goaway, Then
from bellhop_simulators.http.connection import WHOLE, Connection
from bellhop_simulators.http.request import Header

GRACE = 0.1
"""Seconds between a graceful GOAWAY and the one that names the last stream."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out, and the provider's reason for it."""

    status: int
    headers: list[Header]
    body: bytes = b""
    reason: str = ""


def dressed(answer: Answer, then: Then, now: float) -> Answer:
    """`answer` with the headers and the body that `then` gives it."""
    headers = list(answer.headers)
    if then.retry_after is not None:
        headers.append(("retry-after", str(then.retry_after)))
    if then.retry_after_date is not None:
        headers.append(("retry-after", formatdate(now + then.retry_after_date, usegmt=True)))
    if then.headers:
        given = {name.lower(): value for name, value in then.headers.items()}
        headers = [(name, value) for name, value in headers if name not in given] + list(given.items())
    body = answer.body
    if then.body is not None:
        body = then.body.encode()
    if then.body_size is not None:
        body = b"x" * then.body_size
    return replace(answer, headers=headers, body=body)


def silence(then: Then, stream_id: int) -> str:
    """Why the sender gets no answer to the request on `stream_id`; empty if it does."""
    if then.connection is not None:
        return {"reset": "CONNECTION_RESET", "close": "CONNECTION_CLOSED"}[then.connection]
    if then.reset_stream is not None:
        return "RST_STREAM"
    if then.goaway is not None and not then.goaway.covers(stream_id):
        return "GOAWAY"
    return "NO_ANSWER" if then.no_answer else ""


def play(
    connection: Connection,
    stream_id: int,
    answer: Answer,
    then: Then,
    answered: Callable[[], None],
    goaway_debug: bytes,
) -> None:
    """Do what `then` says; `answered` is called when the answer has been queued."""
    if then.goaway is not None:
        send_goaway(connection, then.goaway, then.goaway.last_stream_id(stream_id), goaway_debug)
        if not then.goaway.covers(stream_id):
            return

    def finish() -> None:
        if then.connection == "reset":
            connection.reset()
        elif then.connection == "close":
            connection.close()
        elif then.reset_stream is not None:
            connection.reset_stream(stream_id, then.reset_stream)
        elif not then.no_answer:
            connection.respond(
                stream_id,
                answer.status,
                answer.headers,
                answer.body,
                chunk=then.fragment or WHOLE,
                trickle=then.slow_headers,
            )
            answered()

    if then.delay:
        asyncio.get_running_loop().call_later(then.delay, finish)
    else:
        finish()


def send_goaway(connection: Connection, goaway: Goaway, last_stream_id: int, debug: bytes) -> None:
    """Send a GOAWAY and, if it says so, see to the end of the connection."""
    connection.goaway(last_stream_id, goaway.code, debug)
    if goaway.then == "linger":
        return
    if goaway.last_stream != "all":
        connection.close_when_idle()
        return

    def finish() -> None:
        connection.goaway(connection.highest, goaway.code, debug)
        connection.close_when_idle()

    asyncio.get_running_loop().call_later(GRACE, finish)
