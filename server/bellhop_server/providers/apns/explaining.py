"""What a chunk would become on APNs, for people: the requests as they would travel, without what is secret."""

from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.providers.apns.payload import expiration, render
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.reasons import shortened

_CUT = "bearer …"


def explain(chunk: Chunk, settings: ApnsSettings) -> list[ProviderRequest | Answer]:
    """A request for each delivery, or the answer to them all when APNs would refuse it."""
    rendered = render(chunk)
    if isinstance(rendered, Answer):
        return [rendered] * len(chunk.deliveries)
    origin = settings.origin(chunk.apns_environment or ApnsEnvironment.PRODUCTION)
    fields = {name.decode(): value.decode() for name, value in rendered.fields}
    fields |= {"apns-topic": rendered.topic(chunk.apns_topic), "authorization": _CUT}
    requests: list[ProviderRequest | Answer] = []
    for delivery in chunk.deliveries:
        kept = {"apns-expiration": expiration(delivery.expire_time)[1].decode()} if rendered.kept else {}
        body = rendered.stamped(delivery.stamp)
        requests.append(
            ProviderRequest(
                url=f"https://{origin.authority}/3/device/{shortened(delivery.address)}",
                headers=fields | kept | {"apns-id": delivery.provider_message_id},
                body=body.decode(),
                body_size=len(body),
                body_limit=rendered.largest,
            )
        )
    return requests
