"""What a chunk would become on FCM, for people: the requests as they would travel, without what is secret."""

import json

from bellhop_server.domain import Micros
from bellhop_server.domain.application import FcmCredential
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest
from bellhop_server.providers.fcm.line import path
from bellhop_server.providers.fcm.payload import LARGEST, render
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.reasons import shortened

_HEADERS = {"authorization": "Bearer …", "content-type": "application/json", "x-goog-api-format-version": "2"}


def explain(chunk: Chunk, settings: FcmSettings, now: Micros) -> list[ProviderRequest | Answer]:
    """A request for each delivery, or the answer to them all when FCM would refuse it.

    The size is that of texts and data, which is what Google limits.
    """
    credential, rendered = chunk.credential, render(chunk)
    assert isinstance(credential, FcmCredential)
    if isinstance(rendered, Answer):
        return [rendered] * len(chunk.deliveries)
    url = f"https://{settings.origin.authority}{path(credential.project_id)}"
    requests: list[ProviderRequest | Answer] = []
    for address, supplement, _, expire_time, stamp in chunk.deliveries:
        cut = json.dumps(shortened(address), ensure_ascii=False).encode()
        body = rendered.body(cut, supplement, expire_time, now, stamp).decode()
        requests.append(ProviderRequest(url, dict(_HEADERS), body, body_size=rendered.size, body_limit=LARGEST))
    return requests
