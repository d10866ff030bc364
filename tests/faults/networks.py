"""The three networks, each simulated, and the adapter that speaks to it."""

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import SetCredentialRequest
from bellhop_client import ApnsTarget, FcmTarget, WebPushTarget
from bellhop_server.domain.delivery import ANSWER
from bellhop_server.domain.device import Platform
from bellhop_server.ports import Provider
from bellhop_server.providers.addresses import Addresses
from bellhop_server.providers.apns.adapter import ApnsProvider
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.engine import choose
from bellhop_server.providers.fcm.adapter import FcmProvider
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.turns import Turns
from bellhop_server.providers.webpush.adapter import WebPushProvider
from bellhop_server.providers.webpush.settings import WebPushSettings
from bellhop_simulators import ApnsSimulator, FcmSimulator, WebPushSimulator
from bellhop_simulators.fcm.conversation import TOKEN_PATH
from bellhop_simulators.journal import Entry
from tests.apns_desk import MovableClock, SimulatorClock

HTTP1 = "HTTP/1.1"
STRANGER = "push.example.net"
"""A host with two addresses, one of them private."""
_ADDRESSES = ("93.184.215.14", "10.0.0.7")


class Network(StrEnum):
    """A network, as a reader calls it."""

    APNS = "APNs"
    FCM = "FCM"
    WEB_PUSH = "Web Push"

    @property
    def platform(self) -> Platform:
        """The same in the domain."""
        return Platform[self.name]

    @property
    def engines(self) -> tuple[str, ...]:
        """What speaks to it. A push service of the web need not have HTTP/2: under `HTTP1` it has not."""
        return ("ngh2", "h2", HTTP1) if self is Network.WEB_PUSH else ("ngh2", "h2")


@dataclass(frozen=True)
class Venue:
    """A simulated network, and the provider that sends there. `credential`: an argument of `set_credential`."""

    network: Network
    simulator: Any
    provider: Provider
    credential: dict[str, Any]

    def target(self, persona: str, public_key: str, *, stranger: bool) -> tuple[str, dict[str, Any]]:
        """A new phone or browser: what the journal calls it, and an argument of `register_device`.

        `stranger`: its push service is at the host that has a private address, if it is a browser's.
        """
        match self.network:
            case Network.APNS:
                token = secrets.token_hex(32)
                return token, {"apns": ApnsTarget(token=token)}
            case Network.FCM:
                token = f"{secrets.token_urlsafe(16)}:{secrets.token_urlsafe(90)}"
                return token, {"fcm": FcmTarget(token=token)}
            case Network.WEB_PUSH:
                browser = self.simulator.subscriptions.subscribe(persona, public_key)
                path = browser.endpoint.removeprefix(self.simulator.url)
                endpoint = f"https://{STRANGER}{path}" if stranger else browser.endpoint
                target = WebPushTarget(endpoint=endpoint, p256dh=browser.p256dh, auth=browser.auth)
                return path, {"web_push": target}

    def name(self, entry: Entry) -> str:
        """Whom an entry of the journal is about."""
        return str(entry.path if self.network is Network.WEB_PUSH else entry.token)

    def pushes(self, mark: int) -> list[Entry]:
        """What the network saw after the entry with that number, but for requests for access tokens."""
        entries: list[Entry] = list(self.simulator.journal.entries)
        return [entry for entry in entries if entry.number > mark and entry.path != TOKEN_PATH]


@asynccontextmanager
async def venue(
    network: Network, engine: str, clock: MovableClock, *, answer: float = ANSWER, streams: int | None = None
) -> AsyncIterator[Venue]:
    """A network for as long as the context lasts; whoever uses the provider closes it.

    `answer`: seconds that an answer may take. `streams`: how many a connection may have, if not as many as in truth.
    """
    theirs, turns = SimulatorClock(clock), Turns()
    limits = Limits(connections=2, backoff_first=0.005, backoff_most=0.05, stall=0.2, answer=answer)
    http2 = choose("ngh2" if engine == HTTP1 else engine)
    options: dict[str, Any] = {} if streams is None else {"max_concurrent_streams": streams}
    match network:
        case Network.APNS:
            async with ApnsSimulator(clock=theirs) as apns:
                settings = ApnsSettings(apns.url, apns.sandbox_url, apns.ca_file)
                provider = ApnsProvider(settings, clock, turns, limits=limits, engine=http2)
                yield Venue(network, apns, provider, _credential("apns", apns.key.credential()))
        case Network.FCM:
            async with FcmSimulator(clock=theirs, **options) as fcm:
                where = FcmSettings(fcm.url, fcm.token_url, fcm.ca_file)
                google = FcmProvider(where, clock, turns, limits=limits, engine=http2)
                yield Venue(network, fcm, google, _credential("fcm", fcm.account.credential()))
        case Network.WEB_PUSH:
            if engine == HTTP1:
                options["versions"] = [HTTP1]
            async with WebPushSimulator(clock=theirs, **options) as push:
                hosts = WebPushSettings(f"{push.url.removeprefix('https://')},{STRANGER}", push.ca_file)
                addresses = Addresses(hosts.allowed.private, getaddrinfo=_look_up)
                web = WebPushProvider(hosts, clock, turns, limits=limits, engine=http2, addresses=addresses)
                yield Venue(network, push, web, _credential("web_push", push.credential()))


def _look_up(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
    if host != STRANGER:
        return [*socket.getaddrinfo(host, port, **options)]
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in _ADDRESSES]


def _credential(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(ParseDict(body, SetCredentialRequest()), name)}
