"""The APNs provider: chunks of deliveries in, an answer for each out."""

import asyncio
from collections.abc import Callable

from bellhop_server.domain.application import (
    ApnsCredential,
    Breaker,
    Credential,
    CredentialOffer,
    ProbeResult,
    ProviderSecret,
)
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest, Verdict
from bellhop_server.domain.device import ApnsEnvironment, Platform, Target
from bellhop_server.domain.errors import InvalidRequest, Violation
from bellhop_server.ports import Clock
from bellhop_server.providers.account import Account, Accounts
from bellhop_server.providers.apns import explaining, probing
from bellhop_server.providers.apns.errand import ApnsErrand
from bellhop_server.providers.apns.line import ApnsLine
from bellhop_server.providers.apns.payload import render
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.apns.token import KeyRefused, ProviderTokens, TokenKey, check_key, token_key
from bellhop_server.providers.courier import Courier, report_all
from bellhop_server.providers.engine import EngineFactory
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns

_UNREADABLE_KEY = Answer(Verdict.CREDENTIALS_INVALID, reason=Reason.KEY_UNREADABLE.value)
_CLOSED = Answer(Verdict.NOT_SENT, reason=Reason.SHUTTING_DOWN.value)


class ApnsProvider:
    """Implements `ports.Provider`. To be made and used on a running event loop; `turns` is one for the process."""

    def __init__(
        self,
        settings: ApnsSettings,
        clock: Clock,
        turns: Turns,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        engine: EngineFactory | None = None,
    ) -> None:
        """Raises OSError or ssl.SSLError when the authorities cannot be read."""
        self._settings = settings
        self._clock = clock
        self._turns = turns
        self._limits = limits
        self._engine = engine
        self._tls = client_context(settings.ca_file)
        self._tokens = ProviderTokens(clock)
        self._accounts: Accounts[ApnsLine] = Accounts(Platform.APNS, clock)
        self._courier = Courier(clock)
        self._lines: dict[TokenKey, ApnsLine] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def platform(self) -> Platform:
        """See `ports.Provider`."""
        return Platform.APNS

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        """See `ports.Provider`."""
        numbers = range(len(chunk.deliveries))
        if not numbers:
            return
        if self._closed:
            report_all(numbers, _CLOSED, report)
            return
        if self._accounts.outdated(chunk):
            self.forget(chunk.app_id, chunk.credential_id)
        account, rendered = self._accounts.of(chunk), render(chunk)
        if isinstance(account, Answer):
            report_all(numbers, account, report)
            return
        if isinstance(rendered, Answer):
            report_all(numbers, rendered, report)
            return
        credential = chunk.credential
        assert isinstance(credential, ApnsCredential)
        environment = chunk.apns_environment or ApnsEnvironment.PRODUCTION
        try:
            line = self._line(account, credential, environment)
        except KeyRefused:
            report_all(numbers, _UNREADABLE_KEY, report)
            return
        errand = ApnsErrand(chunk, rendered, account, line, environment, self._clock)
        await self._courier.deliver(errand, numbers, report, handed_over)

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        """See `ports.Provider`."""
        assert isinstance(offer, ApnsCredential)
        wrong = check_key(offer)
        if wrong:
            raise InvalidRequest([Violation("apns.key.p8", wrong)])
        return offer

    async def check_target(self, target: Target) -> list[Violation]:
        """See `ports.Provider`. Whatever is wrong with a token only Apple knows."""
        return []

    def explain(self, chunk: Chunk) -> list[ProviderRequest | Answer]:
        """See `ports.Provider`."""
        return explaining.explain(chunk, self._settings)

    async def probe(self, credential: Credential) -> ProbeResult:
        """See `ports.Provider`."""
        secret = credential.secret
        assert isinstance(secret, ApnsCredential)
        environments = tuple(dict.fromkeys(secret.environments)) or tuple(ApnsEnvironment)
        answers = await asyncio.gather(*(self._ask(secret, environment) for environment in environments))
        found = dict(zip(environments, answers, strict=True))
        return probing.conclude(found, chosen=bool(secret.environments), now=self._clock.now())

    def breakers(self, app_id: str | None = None) -> list[Breaker]:
        """See `ports.Provider`."""
        return self._accounts.breakers(app_id)

    def forget(self, app_id: str, credential_id: str) -> None:
        """See `ports.Provider`. What waits to be sent under it is NOT_SENT; answers under way are still waited for."""
        account = self._accounts.remove(app_id, credential_id)
        for line in account.lines if account else ():
            line.accounts.discard(account)
            if line.accounts:
                line.replace("a credential was replaced")
            else:
                del self._lines[line.key]
                task = asyncio.create_task(line.pool.aclose(self._limits.answer))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """See `ports.Provider`."""
        self._closed = True
        await asyncio.gather(*(line.pool.aclose() for line in self._lines.values()), *self._closing)

    async def _ask(self, credential: ApnsCredential, environment: ApnsEnvironment) -> Answer:
        try:
            token = self._tokens.of(credential, environment).current()
        except KeyRefused:
            return _UNREADABLE_KEY
        pool = self._pool(environment, probing.LIMITS)
        deadline = self._clock.monotonic() + probing.SECONDS
        authority = self._settings.origin(environment).authority
        return await probing.question(pool, authority, token, credential.topics[0], deadline)

    def _line(self, account: Account[ApnsLine], credential: ApnsCredential, environment: ApnsEnvironment) -> ApnsLine:
        """Raises KeyRefused."""
        key = token_key(credential, environment)
        line = self._lines.get(key)
        if line is None:
            token = self._tokens.of(credential, environment)
            pool = self._pool(environment, self._limits)
            authority = self._settings.origin(environment).authority
            line = self._lines[key] = ApnsLine(key, pool, authority, token, self._clock)
        line.serve(account)
        line.prepare(credential.topics)
        return line

    def _pool(self, environment: ApnsEnvironment, limits: Limits) -> Pool:
        origin = self._settings.origin(environment)
        return Pool(
            origin.host,
            origin.port,
            tls=self._tls,
            turns=self._turns,
            limits=limits,
            engine=self._engine,
            clock=self._clock.monotonic,
        )
