"""A sender of Web Push for the simulator's tests: encrypts with `http_ece`, signs with the simulator's key."""

import json
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

from bellhop_simulators import BrowserSubscription, VapidKey, WebPushSimulator
from bellhop_simulators.webpush import base64url
from tests.unit.apns_wire import Reply, WireClient
from tests.unit.http1_wire import Http1Client, Http1Reply

MESSAGE = json.dumps({"title": "Grüße"}).encode()


def encrypted(
    browser: BrowserSubscription, data: bytes = MESSAGE, key: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    body: bytes = http_ece.encrypt(
        data,
        private_key=key or ec.generate_private_key(ec.SECP256R1()),
        dh=base64url.decode(browser.p256dh),
        auth_secret=base64url.decode(browser.auth),
        version="aes128gcm",
    )
    return body


def headers_for(endpoint: str, key: VapidKey, changes: dict[str, str | None]) -> dict[str, str]:
    usual: dict[str, str | None] = {
        "host": endpoint.removeprefix("https://").partition("/")[0],
        "authorization": key.authorization(endpoint),
        "ttl": "60",
        "content-encoding": "aes128gcm",
        **changes,
    }
    return {name: value for name, value in usual.items() if value is not None}


class Sender:
    """Pushes over one HTTP/1.1 connection."""

    def __init__(self, push: WebPushSimulator, client: Http1Client) -> None:
        self._push = push
        self._client = client

    async def push(
        self,
        to: BrowserSubscription | str,
        body: bytes | None = None,
        key: VapidKey | None = None,
        **changes: str | None,
    ) -> Http1Reply:
        """Push a good message to a browser, or `body` to an endpoint; header names with underscores."""
        endpoint = to if isinstance(to, str) else to.endpoint
        if body is None:
            assert isinstance(to, BrowserSubscription)
            body = encrypted(to)
        headers = headers_for(
            endpoint, key or self._push.key, {name.replace("_", "-"): value for name, value in changes.items()}
        )
        return await self.call("POST", endpoint, headers, body)

    async def call(self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Http1Reply:
        path = url.removeprefix(self._push.url)
        self._client.send(method, path, headers, body)
        return await self._client.answer(bodyless=method == "HEAD")

    async def control(self, method: str, path: str, options: Any = None) -> tuple[int, Any]:
        body = b"" if options is None else json.dumps(options).encode()
        reply = await self.call(method, path, None, body)
        return reply.status, json.loads(reply.body) if reply.body else None


async def push_over_http2(
    client: WireClient, push: WebPushSimulator, to: BrowserSubscription, *extra: tuple[str, str]
) -> Reply:
    """Push a good message with `extra` headers over an HTTP/2 connection."""
    headers = headers_for(to.endpoint, push.key, {})
    pseudo = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", headers.pop("host")),
        (":path", to.endpoint.removeprefix(push.url)),
    ]
    return await client.answer(client.send_raw([*pseudo, *headers.items(), *extra], encrypted(to)))
