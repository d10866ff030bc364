"""Encryptions of a Web Push (RFC 8291), ours beside http_ece and pywebpush, in turns."""

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pywebpush import WebPusher

from bellhop_server.providers.webpush import base64url
from bellhop_server.providers.webpush.encryption import encrypt, recipient
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from benchmarks.table import table

TEXT = b'{"bellhop":1,"title":"Hello","options":{"body":"Your order is on its way."}}'
ROUNDS = 5
EACH = 1000


def encryption(_: Stage, __: Sizes) -> list[str]:
    """Lines of Markdown; CPU is this process's."""
    browser = ec.generate_private_key(ec.SECP256R1())
    point = browser.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    p256dh, auth = base64url.encode(point), base64url.encode(os.urandom(16))
    pusher = WebPusher({"endpoint": "https://localhost/", "keys": {"p256dh": p256dh, "auth": auth}})

    def by_http_ece() -> object:
        key = ec.generate_private_key(ec.SECP256R1())
        return http_ece.encrypt(TEXT, private_key=key, dh=point, auth_secret=base64url.decode(auth))

    candidates: dict[str, Callable[[], object]] = {
        "Bellhop, keys read anew": lambda: encrypt(TEXT, recipient(p256dh, auth)),
        f"http_ece {version('http-ece')}": by_http_ece,
        f"pywebpush {version('pywebpush')}": lambda: pusher.encode(TEXT),
    }
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(ROUNDS + 1):
        for name, candidate in candidates.items():
            cpu = time.process_time()
            for _ in range(EACH):
                candidate()
            if turn:
                spent[name].append((time.process_time() - cpu) / EACH)
    rows = [(name, f"{1 / median(each):,.0f}", f"{median(each) * 1e6:.0f}") for name, each in spent.items()]
    return table("encryption | a second, on one core | CPU µs each", rows)
