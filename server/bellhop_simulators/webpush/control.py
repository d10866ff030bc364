"""The control calls: what a test in another process, or in another language, cannot do by calling Python.

- `POST /subscriptions` with `{"persona": ..., "application_server_key": ...}`, both optional: 201 with `id` and, as
  `PushSubscription.toJSON()` has them, `endpoint`, `expirationTime` and `keys`
- `GET /subscriptions/ID/messages`: 200 with `{"messages": [...]}`, decrypted, in order
- `DELETE /subscriptions/ID`: 204; the browser unsubscribes, and its endpoint is gone

Mistakes get 400, 404 or 405 with `{"error": TEXT}`. No fault is played at them, and the journal does not have them.
"""

import json
import re
from typing import Any

from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Request
from bellhop_simulators.journal import decode_json
from bellhop_simulators.webpush.subscriptions import Subscriptions

_PATH = re.compile(r"/subscriptions(?:/(?P<id>[0-9a-f]+)(?P<messages>/messages)?)?")
_KEYS = frozenset({"persona", "application_server_key"})


def is_control(path: str) -> bool:
    """Whether `path` is one of the control calls."""
    return _PATH.fullmatch(path) is not None


def control(request: Request, subscriptions: Subscriptions) -> Answer:
    """Do what `request`, whose path is one of the control calls, asks for."""
    found = _PATH.fullmatch(request.header(":path") or "")
    assert found is not None
    method = request.header(":method")
    if found["id"] is None:
        return _subscribe(request, subscriptions) if method == "POST" else _error(405, "only POST")
    subscription = subscriptions.get(found["id"])
    if subscription is None:
        return _error(404, "no such subscription")
    if found["messages"]:
        told = {"messages": [message.to_json() for message in subscription.messages]}
        return _json(200, told) if method == "GET" else _error(405, "only GET")
    if method != "DELETE":
        return _error(405, "only DELETE")
    subscription.unsubscribe()
    return Answer(204, [])


def _subscribe(request: Request, subscriptions: Subscriptions) -> Answer:
    try:
        options = decode_json(request.body or b"{}")
        known = isinstance(options, dict) and options.keys() <= _KEYS
        if not known or not all(isinstance(value, str | None) for value in options.values()):
            raise ValueError(f"must be an object of texts: {', '.join(sorted(_KEYS))}")
        subscription = subscriptions.subscribe(**{key: value for key, value in options.items() if value is not None})
    except ValueError as error:
        return _error(400, str(error))
    return _json(201, {"id": subscription.subscription_id, **subscription.to_json()})


def _json(status: int, body: dict[str, Any]) -> Answer:
    return Answer(status, [("content-type", "application/json")], json.dumps(body).encode())


def _error(status: int, text: str) -> Answer:
    return _json(status, {"error": text})
