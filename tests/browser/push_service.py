"""A push service for a real Firefox: endpoints of the simulated one, and the connection that the browser keeps open.

The browser's side is the protocol of Mozilla's service (https://mozilla-push-service.readthedocs.io, "WebSocket
Protocol"); the sender's side is the simulator, which checks each push as Mozilla does. Only the browser can read it.
"""

import asyncio
import json
import uuid
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bellhop_simulators import WebPushSimulator
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.browser import BrowserMessage, BrowserSubscription

READ = 100
"""What the browser answers once a service worker has had the message."""


class RealBrowser(BrowserSubscription):
    """A subscription whose key is in the browser: what comes for it goes there as it is."""

    service: "PushService"
    channel: str

    def decrypt(self, body: bytes) -> bytes:
        """Nothing: the browser does."""
        return body

    def deliver(self, message: BrowserMessage, *, readable: bool) -> None:
        """See `BrowserSubscription`."""
        if self.state == "subscribed":
            self.service.pass_on(self.channel, message)


class PushService:
    """One browser's push service. While it is `parked`, what comes waits."""

    def __init__(self, simulator: WebPushSimulator) -> None:
        self.parked = False
        self.acknowledged: list[int] = []
        self.channels: dict[str, RealBrowser] = {}
        self._simulator = simulator
        self._waiting: dict[str, dict[str, Any]] = {}
        self._browser = ""
        self._connection: ServerConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "PushService":
        self._server = await serve(self._talk, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def pass_on(self, channel: str, message: BrowserMessage) -> None:
        """Now, or as soon as the browser is there."""
        self._waiting[message.message_id] = {
            "messageType": "notification",
            "channelID": channel,
            "version": message.message_id,
            "ttl": message.ttl,
            **({"data": base64url.encode(message.data)} if message.data else {}),
            "headers": {"encoding": "aes128gcm"},
        }
        if not self.parked:
            self._start(self._deliver())

    def unpark(self) -> None:
        """Lets go what waits, as for a phone that is switched on again."""
        self.parked = False
        self._start(self._deliver())

    async def forget(self) -> None:
        """Loses its state: who connects next is a stranger without subscriptions."""
        for subscription in self.channels.values():
            subscription.expire()
        self.channels.clear()
        self._browser = ""
        if self._connection is not None:
            await self._connection.close()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self) -> None:
        for each in list(self._waiting.values()):
            if self._connection is not None and not self.parked:
                await self._connection.send(json.dumps(each))

    async def _talk(self, connection: ServerConnection) -> None:
        try:
            async for text in connection:
                answer = await self._answer(json.loads(text), connection)
                if answer is not None:
                    await connection.send(json.dumps(answer))
                if answer is not None and answer.get("messageType") == "hello":
                    await self._deliver()
        except ConnectionClosed:
            pass
        finally:
            if self._connection is connection:
                self._connection = None

    async def _answer(self, asked: dict[str, Any], connection: ServerConnection) -> dict[str, Any] | None:
        kind = asked.get("messageType")
        if kind == "hello":
            self._connection = connection
            self._browser = asked["uaid"] if asked.get("uaid") == self._browser else uuid.uuid4().hex
            return {"messageType": "hello", "uaid": self._browser, "status": 200, "use_webpush": True}
        if kind == "register":
            channel = asked["channelID"]
            subscribed = self._simulator.subscriptions.subscribe("mozilla", asked.get("key"), kind=RealBrowser)
            subscribed.service, subscribed.channel = self, channel
            self.channels[channel] = subscribed
            return {
                "messageType": "register",
                "channelID": channel,
                "status": 200,
                "pushEndpoint": subscribed.endpoint,
            }
        if kind == "unregister":
            if (subscription := self.channels.pop(asked["channelID"], None)) is not None:
                subscription.unsubscribe()
            return {"messageType": "unregister", "channelID": asked["channelID"], "status": 200}
        if kind == "ack":
            for update in asked["updates"]:
                self._waiting.pop(update["version"], None)
                self.acknowledged.append(update["code"])
        return {} if kind in (None, "ping") else None
