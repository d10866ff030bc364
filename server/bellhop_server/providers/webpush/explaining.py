"""What a chunk would become on Web Push, for people: the requests as they would travel, without what is secret."""

from bellhop_server.domain import Micros
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest, Verdict
from bellhop_server.providers.reasons import Reason, shortened
from bellhop_server.providers.webpush.encryption import LARGEST_BODY, OVERHEAD
from bellhop_server.providers.webpush.hosts import Hosts
from bellhop_server.providers.webpush.payload import render


def explain(chunk: Chunk, hosts: Hosts, now: Micros) -> list[ProviderRequest | Answer]:
    """A request for each delivery, its body before encryption, or what it would be answered without one."""
    rendered = render(chunk)
    if isinstance(rendered, Answer):
        return [rendered] * len(chunk.deliveries)
    common = {name.decode(): value.decode() for name, value in rendered.fields}
    common["authorization"] = f"vapid t=…, k={chunk.vapid_public_key}"
    requests: list[ProviderRequest | Answer] = []
    for address, _, _, expire_time, stamp in chunk.deliveries:
        endpoint = hosts.check(address)
        if isinstance(endpoint, str):
            requests.append(BLOCKED)
            continue
        plaintext = rendered.stamped(stamp)
        lasting = {name.decode(): value.decode() for name, value in rendered.lasting(expire_time, now, endpoint.host)}
        requests.append(
            ProviderRequest(
                url=endpoint.origin + shortened(endpoint.path),
                headers=common | lasting,
                body=plaintext.decode(),
                body_size=len(plaintext) + OVERHEAD,
                body_limit=LARGEST_BODY,
            )
        )
    return requests


BLOCKED = Answer(Verdict.ENDPOINT_BLOCKED, reason=Reason.HOST_NOT_ALLOWED.value)
