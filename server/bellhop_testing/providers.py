"""A network without phones: it takes everything, but for what it is told to refuse."""

from collections.abc import Callable

from bellhop_server.clock import SystemClock
from bellhop_server.domain.application import (
    ApnsCredential,
    Breaker,
    Credential,
    CredentialOffer,
    FcmCredential,
    FcmOffer,
    ProbeResult,
    ProviderSecret,
)
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import Violation
from bellhop_server.providers.webpush import keyring


class World:
    """What the networks say. `gone`: tokens and endpoints that are dead. `away`: nobody answers."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.away = False

    def answer(self, address: str, message_id: str) -> Answer:
        """To one push."""
        if self.away:
            return Answer(Verdict.PROVIDER_UNAVAILABLE, 503, "Away")
        if address in self.gone:
            return Answer(Verdict.TOKEN_INVALID, 410, "Gone")
        return Answer(Verdict.ACCEPTED, 200, provider_message_id=message_id)


class FakeProvider:
    """`ports.Provider` of one network."""

    def __init__(self, platform: Platform, world: World) -> None:
        self.platform = platform
        self._world = world

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        """See `ports.Provider`."""
        for index, delivery in enumerate(chunk.deliveries):
            report(index, self._world.answer(delivery.address, delivery.provider_message_id))

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        """See `ports.Provider`. No key is looked at, and Web Push gets a real one, which pages subscribe with."""
        if isinstance(offer, ApnsCredential):
            return offer
        if isinstance(offer, FcmOffer):
            return FcmCredential("test", "test@test.example", "test", "test", offer.sender_id)
        return keyring.accept(offer, present)

    async def probe(self, credential: Credential) -> ProbeResult:
        """See `ports.Provider`."""
        return ProbeResult(ok=True, reason="", probe_time=SystemClock().now())

    async def check_target(self, target: Target) -> list[Violation]:
        """See `ports.Provider`."""
        return []

    def explain(self, chunk: Chunk) -> list[ProviderRequest | Answer]:
        """See `ports.Provider`. There is no request that anybody would get."""
        return [Answer(Verdict.NOT_CONFIGURED, reason="Fake") for _ in chunk.deliveries]

    def breakers(self, app_id: str | None = None) -> list[Breaker]:
        """See `ports.Provider`."""
        return []

    def forget(self, app_id: str, credential_id: str) -> None:
        """See `ports.Provider`."""

    async def aclose(self) -> None:
        """See `ports.Provider`."""
