"""The FCM provider: chunks of deliveries in, an answer for each out."""

import logging
from collections.abc import Callable

from bellhop_server.domain.application import (
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
from bellhop_server.ports import Clock
from bellhop_server.providers.account import Accounts
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.courier import Courier, report_all
from bellhop_server.providers.engine import EngineFactory, Reply
from bellhop_server.providers.fcm import explaining, oauth, probing
from bellhop_server.providers.fcm.access import Accesses, authorization
from bellhop_server.providers.fcm.errand import FcmErrand
from bellhop_server.providers.fcm.line import FcmLine, head
from bellhop_server.providers.fcm.oauth import TokenEndpoint
from bellhop_server.providers.fcm.payload import render
from bellhop_server.providers.fcm.service_account import read_service_account
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.origin import Origin
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.question import ask
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns

# Google lets a hundred requests be under way on a connection: ten of them carry what a project may send.
LIMITS = Limits(connections=10)

# Seconds before its deadline in which a chunk can still be handed over.
_LEAST = 1.0

_CLOSED = Answer(Verdict.NOT_SENT, reason=Reason.SHUTTING_DOWN.value)
_REPLACED = Answer(Verdict.NOT_SENT, reason=Reason.CREDENTIAL_REPLACED.value)
_LIMITED = Answer(Verdict.NOT_SENT, reason=Reason.RATE_LIMITED.value)

_log = logging.getLogger(__name__)


class FcmProvider:
    """Implements `ports.Provider`. To be made and used on a running event loop; `turns` is one for the process."""

    def __init__(
        self,
        settings: FcmSettings,
        clock: Clock,
        turns: Turns,
        *,
        limits: Limits = LIMITS,
        engine: EngineFactory | None = None,
    ) -> None:
        """Raises OSError or ssl.SSLError when the authorities cannot be read."""
        self._settings = settings
        self._clock = clock
        self._turns = turns
        self._engine = engine
        self._tls = client_context(settings.ca_file)
        self._pool = self._connect(settings.origin, limits)
        self._endpoint = TokenEndpoint(settings, clock, lambda: self._connect(settings.token_origin, oauth.LIMITS))
        self._accesses = Accesses(self._endpoint.grant, clock)
        self._accounts: Accounts[FcmLine] = Accounts(Platform.FCM, clock)
        self._courier = Courier(clock)
        # They stay: what Google said of a project holds for its next credential too.
        self._lines: dict[str, FcmLine] = {}
        self._closed = False

    @property
    def platform(self) -> Platform:
        """See `ports.Provider`."""
        return Platform.FCM

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        """See `ports.Provider`."""
        numbers = range(len(chunk.deliveries))
        if not numbers:
            return
        errand = self._errand(chunk)
        refusal = errand if isinstance(errand, Answer) else await self._prepare(errand)
        if refusal is not None:
            report_all(numbers, refusal, report)
            return
        assert isinstance(errand, FcmErrand)
        await self._courier.deliver(errand, numbers, report, handed_over)

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        """See `ports.Provider`."""
        assert isinstance(offer, FcmOffer)
        return read_service_account(offer, self._settings.token_url)

    async def check_target(self, target: Target) -> list[Violation]:
        """See `ports.Provider`. Whatever is wrong with a token only Google knows."""
        return []

    def explain(self, chunk: Chunk) -> list[ProviderRequest | Answer]:
        """See `ports.Provider`."""
        return explaining.explain(chunk, self._settings, self._clock.now())

    async def probe(self, credential: Credential) -> ProbeResult:
        """See `ports.Provider`. It is with an access token of its own, so that nothing is believed from before."""
        secret = credential.secret
        assert isinstance(secret, FcmCredential)
        return probing.conclude(await self._try(secret), self._clock.now())

    def breakers(self, app_id: str | None = None) -> list[Breaker]:
        """See `ports.Provider`."""
        return self._accounts.breakers(app_id)

    def forget(self, app_id: str, credential_id: str) -> None:
        """See `ports.Provider`. What waits to be sent under it is NOT_SENT; answers under way are still waited for."""
        account = self._accounts.remove(app_id, credential_id)
        if account is not None:
            for line in account.lines:
                line.withdraw(account, _REPLACED)

    async def aclose(self) -> None:
        """See `ports.Provider`."""
        self._closed = True
        await self._accesses.aclose()
        await self._pool.aclose()

    def _errand(self, chunk: Chunk) -> FcmErrand | Answer:
        if self._closed:
            return _CLOSED
        if self._accounts.outdated(chunk):
            self.forget(chunk.app_id, chunk.credential_id)
        account, rendered = self._accounts.of(chunk), render(chunk)
        if isinstance(account, Answer):
            return account
        if isinstance(rendered, Answer):
            return rendered
        credential = chunk.credential
        assert isinstance(credential, FcmCredential)
        project_id = credential.project_id
        line = self._lines.get(project_id)
        if line is None:
            line = self._lines[project_id] = FcmLine(project_id, self._pool, self._settings, self._clock)
        line.serve(account)
        access = self._accesses.of(credential)
        return FcmErrand(chunk, rendered, account, line, access, (project_id,), self._clock)

    async def _prepare(self, errand: FcmErrand) -> Answer | None:
        """Waits for an access token and for the errand's turn; the answer for all when they do not come in time."""
        if self._held(errand):
            # The courier says until when; nobody is to be asked for a token, and no turn to be used up.
            return None
        deadline = errand.chunk.deadline - _LEAST
        refusal = await errand.access.ready(deadline)
        if refusal is None:
            wait = await errand.line.bucket.take(len(errand.chunk.deliveries), deadline)
            refusal = None if wait is None else _LIMITED._replace(retry_after=wait)
        if self._closed:
            return _CLOSED
        if errand.account not in errand.line.accounts:
            return _REPLACED
        if refusal is not None and refusal.verdict is Verdict.CREDENTIALS_INVALID:
            self._stop(errand, refusal)
        return refusal

    def _held(self, errand: FcmErrand) -> bool:
        """Whether nothing is to be sent now because Google or the credential failed."""
        now = self._clock.monotonic()
        breakers = (errand.line.outage.breaker, errand.account.breakers.find(errand.scope))
        return any(each is not None and (each.probing or now < each.retry_at) for each in breakers)

    def _stop(self, errand: FcmErrand, refusal: Answer) -> None:
        if errand.account.breakers.trip(errand.scope, Answer(refusal.verdict, reason=refusal.reason)):
            where = {"app_id": errand.chunk.app_id, "credential_id": errand.chunk.credential_id}
            _log.warning(
                "Google gives a credential no access token; it is left alone for a while",
                extra={**where, "status": refusal.status, "reason": refusal.reason},
            )

    async def _try(self, credential: FcmCredential) -> Reply | Failure | Answer:
        grant = await self._endpoint.grant(credential)
        if isinstance(grant, Answer):
            return grant
        headers = [*head(self._settings, credential.project_id), authorization(grant)]
        pool = self._connect(self._settings.origin, probing.LIMITS)
        return await ask(pool, headers, probing.BODY, self._clock.monotonic() + probing.SECONDS)

    def _connect(self, origin: Origin, limits: Limits) -> Pool:
        return Pool(
            origin.host,
            origin.port,
            tls=self._tls,
            turns=self._turns,
            limits=limits,
            engine=self._engine,
            clock=self._clock.monotonic,
        )
