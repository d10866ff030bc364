"""The three networks, each simulated, and the adapter that speaks to it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import SetCredentialRequest
from bellhop_client import ApnsTarget, FcmTarget, WebPushTarget
from bellhop_server.domain.device import Platform
from bellhop_server.ports import Provider
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
from tests.apns_desk import MovableClock, SimulatorClock

ENGINES = ("ngh2", "h2")
# Hand-over and answer take as long as it needs here, and no longer.
LIMITS = Limits(connections=2, backoff_first=0.005, backoff_most=0.05, answer=0.4, confirm=0.05)


class Network(StrEnum):
    """A network, as a reader calls it."""

    APNS = "APNs"
    FCM = "FCM"
    WEB_PUSH = "Web Push"

    @property
    def platform(self) -> Platform:
        """The same in the domain."""
        return Platform[self.name]


@dataclass(frozen=True)
class Venue:
    """A simulated network, and the provider that sends there. `credential`: an argument of `set_credential`."""

    network: Network
    simulator: Any
    provider: Provider
    credential: dict[str, Any]

    def target(self, persona: str, public_key: str) -> tuple[str, dict[str, Any]]:
        """A new phone or browser: what the journal calls it, and an argument of `register_device`."""
        match self.network:
            case Network.APNS:
                token = secrets.token_hex(32)
                return token, {"apns": ApnsTarget(token=token)}
            case Network.FCM:
                token = f"{secrets.token_urlsafe(16)}:{secrets.token_urlsafe(90)}"
                return token, {"fcm": FcmTarget(token=token)}
            case Network.WEB_PUSH:
                browser = self.simulator.subscriptions.subscribe(persona, public_key)
                target = WebPushTarget(endpoint=browser.endpoint, p256dh=browser.p256dh, auth=browser.auth)
                return browser.endpoint.removeprefix(self.simulator.url), {"web_push": target}


@asynccontextmanager
async def venue(network: Network, engine: str, clock: MovableClock) -> AsyncIterator[Venue]:
    """A network for as long as the context lasts; whoever uses the provider closes it."""
    theirs, turns = SimulatorClock(clock), Turns()
    match network:
        case Network.APNS:
            async with ApnsSimulator(clock=theirs) as apns:
                settings = ApnsSettings(apns.url, apns.sandbox_url, apns.ca_file)
                provider = ApnsProvider(settings, clock, turns, limits=LIMITS, engine=choose(engine))
                yield Venue(network, apns, provider, _credential("apns", apns.key.credential()))
        case Network.FCM:
            async with FcmSimulator(clock=theirs) as fcm:
                where = FcmSettings(fcm.url, fcm.token_url, fcm.ca_file)
                google = FcmProvider(where, clock, turns, limits=LIMITS, engine=choose(engine))
                yield Venue(network, fcm, google, _credential("fcm", fcm.account.credential()))
        case Network.WEB_PUSH:
            async with WebPushSimulator(clock=theirs) as push:
                hosts = WebPushSettings(push.url.removeprefix("https://"), push.ca_file)
                web = WebPushProvider(hosts, clock, turns, limits=LIMITS, engine=choose(engine))
                yield Venue(network, push, web, _credential("web_push", push.credential()))


def _credential(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(ParseDict(body, SetCredentialRequest()), name)}
