"""firebase-admin against the sink: `python -m benchmarks.peer_firebase_admin PORT CA COUNT` prints one JSON line.

It knows only Google's host, so the address of its service is set to the sink's. `send_each` takes up to 500 messages,
with a thread for each.
"""

import json
import os
import sys
import time

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import pem

BATCH = 500


def main(port: int, ca: str, count: int) -> None:
    """Sends about `count` messages and prints what they took."""
    os.environ["REQUESTS_CA_BUNDLE"] = ca
    import firebase_admin
    from firebase_admin import credentials, messaging

    messaging._MessagingService.FCM_URL = f"https://localhost:{port}/v1/projects/{{0}}/messages:send"
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem(rsa.generate_private_key(65537, 2048)).decode(),
        "client_email": "sender@p.iam.gserviceaccount.com",
        "token_uri": f"https://localhost:{port}/token",
    }
    firebase_admin.initialize_app(credentials.Certificate(account))
    notification = messaging.Notification("Hello", "Your order is on its way.")

    def send(first: int, size: int) -> None:
        tokens = (f"token:{number:0150d}" for number in range(first, first + size))
        answer = messaging.send_each([messaging.Message(notification=notification, token=token) for token in tokens])
        if answer.failure_count:
            raise RuntimeError(str(next(each.exception for each in answer.responses if each.exception)))

    send(0, 1)
    start, cpu = time.perf_counter(), time.process_time()
    for first in range(1, count + 1, BATCH):
        send(first, min(BATCH, count + 1 - first))
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
