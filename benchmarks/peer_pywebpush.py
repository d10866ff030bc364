"""pywebpush against the sink: `python -m benchmarks.peer_pywebpush PORT CA COUNT` prints one JSON line.

One session of requests, as its documentation advises, and one thread: it has no other way to send many.
"""

import json
import os
import sys
import time

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid
from pywebpush import webpush

from bellhop_server.providers.webpush import base64url


def main(port: int, ca: str, count: int) -> None:
    """Sends `count` pushes and prints what they took."""
    os.environ["REQUESTS_CA_BUNDLE"] = ca
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    keys = {
        "p256dh": base64url.encode(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
        "auth": base64url.encode(os.urandom(16)),
    }
    key = Vapid()
    key.generate_keys()
    session = requests.Session()

    def send(number: int) -> None:
        webpush(
            {"endpoint": f"https://localhost:{port}/push/{number:064x}", "keys": keys},
            '{"title":"Hello","body":"Your order is on its way."}',
            vapid_private_key=key,
            vapid_claims={"sub": "mailto:push@example.com"},
            ttl=3600,
            requests_session=session,
        )

    send(0)
    start, cpu = time.perf_counter(), time.process_time()
    for number in range(1, count + 1):
        send(number)
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
