"""An adapter alone: `python -m benchmarks.network_sender NETWORK PORT CA COUNT` prints one JSON line."""

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bellhop_server.clock import SystemClock
from bellhop_server.domain import HOUR
from bellhop_server.domain.application import ApnsCredential, FcmCredential, ProviderSecret, WebPushCredential
from bellhop_server.domain.delivery import Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.ports import Provider
from bellhop_server.providers.apns.adapter import ApnsProvider
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.fcm.adapter import FcmProvider
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.turns import Turns
from bellhop_server.providers.webpush import base64url, vapid
from bellhop_server.providers.webpush.adapter import WebPushProvider
from bellhop_server.providers.webpush.settings import WebPushSettings
from benchmarks.certificates import provider_key
from tests.certificates import pem

BATCH = 125
AT_ONCE = 8
TOPIC = "com.example.shop"


def _sender(network: str, port: int, ca: Path) -> tuple[Provider, ProviderSecret, str]:
    """The adapter, a credential, and the VAPID key."""
    clock, turns, url = SystemClock(), Turns(), f"https://localhost:{port}"
    match network:
        case "apns":
            secret: ProviderSecret = ApnsCredential("KEY1234567", "TEAM123456", provider_key(), (TOPIC,))
            return ApnsProvider(ApnsSettings(url, url, ca), clock, turns), secret, ""
        case "fcm":
            key = pem(rsa.generate_private_key(65537, 2048)).decode()
            secret = FcmCredential("p", "sender@p.iam.gserviceaccount.com", "1", key)
            # Its own limit would be what is measured.
            settings = FcmSettings(url, f"{url}/token", ca, rate=1e6)
            return FcmProvider(settings, clock, turns), secret, ""
        case _:
            pair = vapid.generate()
            provider = WebPushProvider(WebPushSettings(f"localhost:{port}", ca), clock, turns)
            return provider, WebPushCredential((pair,), "mailto:push@example.com"), pair.public_key


def _deliveries(network: str, port: int, first: int, keys: str) -> list[Delivery]:
    expire_time = SystemClock().now() + HOUR
    addresses = {"apns": "{:064x}", "fcm": "token:{:0150d}", "web_push": f"https://localhost:{port}/push/{{:064x}}"}
    supplement = keys if network == "web_push" else ""
    return [
        Delivery(addresses[network].format(number), supplement, str(uuid.UUID(int=number)), expire_time)
        for number in range(first, first + BATCH)
    ]


async def main(network: str, port: int, ca: Path, count: int) -> None:
    """Sends about `count` pushes and prints what they took."""
    provider, secret, public_key = _sender(network, port, ca)
    browser = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = browser.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    keys = f"{base64url.encode(point)}.{base64url.encode(bytes(16))}"

    def report(_: int, answer: Answer) -> None:
        if answer.verdict is not Verdict.ACCEPTED:
            raise RuntimeError(answer.reason)

    async def send(first: int) -> None:
        chunk = Chunk(
            app_id="shop",
            credential_id="bench",
            credential_version=1,
            credential=secret,
            notification=Notification(title="Hello", body="Your order is on its way."),
            priority=Priority.NORMAL,
            now_or_never=False,
            deliveries=_deliveries(network, port, first, keys),
            deadline=time.monotonic() + 600,
            apns_topic=TOPIC,
            apns_environment=ApnsEnvironment.PRODUCTION,
            vapid_public_key=public_key,
        )
        await provider.send(chunk, report, lambda index: None)

    await send(0)
    firsts = iter(range(BATCH, BATCH + count, BATCH))

    async def worker() -> None:
        for first in firsts:
            await send(first)

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}))
    await provider.aclose()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
