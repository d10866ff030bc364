"""The APNs provider: chunks of deliveries in, an answer for each out."""

import asyncio
from collections.abc import Callable, Sequence

from bellhop_server.domain import SECOND
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
from bellhop_server.providers.apns import explaining, probing
from bellhop_server.providers.apns.account import Account
from bellhop_server.providers.apns.breaker import OpenBreaker
from bellhop_server.providers.apns.flight import Flight, HandedOver, Leg, Report
from bellhop_server.providers.apns.line import Line
from bellhop_server.providers.apns.payload import render
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.apns.token import KeyRefused, ProviderTokens, TokenKey, check_key, token_key
from bellhop_server.providers.engine import EngineFactory
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns

_UNREADABLE_KEY = Answer(Verdict.CREDENTIALS_INVALID, reason=Reason.KEY_UNREADABLE.value)
_REPLACED = Answer(Verdict.NOT_SENT, reason=Reason.CREDENTIAL_REPLACED.value)
_NOTHING_LEARNT = frozenset({Verdict.PROVIDER_UNAVAILABLE, Verdict.THROTTLED_SENDER, Verdict.NOT_SENT})
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
        self._accounts: dict[tuple[str, str], Account] = {}
        self._lines: dict[TokenKey, Line] = {}
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
        account = self._account(chunk)
        if isinstance(account, Answer):
            _report_all(numbers, account, report)
            return
        rendered = render(chunk)
        if isinstance(rendered, Answer):
            _report_all(numbers, rendered, report)
            return
        environment = chunk.apns_environment or ApnsEnvironment.PRODUCTION
        leg = Leg(chunk, rendered, account, environment, rendered.topic(chunk.apns_topic))
        await self._deliver(leg, numbers, report, handed_over)

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
        now, monotonic = self._clock.now(), self._clock.monotonic()
        return [
            Breaker(
                credential_id,
                Platform.APNS,
                breaker.refusal.reason,
                now + max(int((breaker.retry_at - monotonic) * SECOND), 0),
            )
            for (owner, credential_id), account in self._accounts.items()
            if app_id in (None, owner)
            for breaker in account.breakers.all()
        ]

    def forget(self, app_id: str, credential_id: str) -> None:
        """See `ports.Provider`. What waits to be sent under it is NOT_SENT; answers under way are still waited for."""
        account = self._accounts.pop((app_id, credential_id), None)
        if account is None:
            return
        for key in account.lines:
            line = self._lines[key]
            line.accounts.discard(account)
            if line.accounts:
                line.replace("a credential was replaced")
            else:
                del self._lines[key]
                task = asyncio.create_task(line.pool.aclose(self._limits.answer))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """See `ports.Provider`."""
        self._closed = True
        await asyncio.gather(*(line.pool.aclose() for line in self._lines.values()), *self._closing)

    async def _deliver(self, leg: Leg, numbers: Sequence[int], report: Report, handed_over: HandedOver) -> None:
        breakers = leg.account.breakers
        breaker = breakers.find(leg.environment, leg.topic)
        if breaker is None:
            await self._fly(leg, numbers, report, handed_over)
        elif not breakers.may_probe(breaker):
            _report_all(numbers, breaker.refusal, report)
        else:
            await self._fly_after_one(leg, numbers, breaker, report, handed_over)

    async def _fly_after_one(
        self, leg: Leg, numbers: Sequence[int], breaker: OpenBreaker, report: Report, handed_over: HandedOver
    ) -> None:
        """Sends one; the others follow it if it passes, and share its refusal if not."""
        breakers = leg.account.breakers
        heard: list[Answer] = []

        def listen(number: int, answer: Answer) -> None:
            heard.append(answer)
            report(number, answer)

        breaker.probing = True
        try:
            await self._fly(leg, numbers[:1], listen, handed_over)
        finally:
            breaker.probing = False
        (answer,) = heard
        if breakers.find(leg.environment, leg.topic) is breaker:
            if answer.status == 0 or answer.verdict in _NOTHING_LEARNT:
                _report_all(numbers[1:], Answer(Verdict.NOT_SENT, reason=answer.reason), report)
                return
            breakers.close(breaker)
        still = breakers.find(leg.environment, leg.topic)
        if still is not None:
            _report_all(numbers[1:], still.refusal, report)
        elif len(numbers) > 1:
            await self._fly(leg, numbers[1:], report, handed_over)

    async def _fly(self, leg: Leg, numbers: Sequence[int], report: Report, handed_over: HandedOver) -> None:
        credential = leg.chunk.credential
        assert isinstance(credential, ApnsCredential)
        try:
            line = self._line(leg.account, credential, leg.environment)
        except KeyRefused:
            _report_all(numbers, _UNREADABLE_KEY, report)
            return
        line.prepare(credential.topics)
        flight = Flight(leg, line, numbers, self._clock, report, handed_over)
        flight.take_off()
        try:
            await flight.ended
        except asyncio.CancelledError:
            flight.abandon()
            raise

    async def _ask(self, credential: ApnsCredential, environment: ApnsEnvironment) -> Answer:
        try:
            token = self._tokens.of(credential, environment).current()
        except KeyRefused:
            return _UNREADABLE_KEY
        pool = self._pool(environment, probing.LIMITS)
        deadline = self._clock.monotonic() + probing.SECONDS
        authority = self._settings.origin(environment).authority
        question = probing.Question(authority, token, credential.topics[0], deadline)
        try:
            pool.send(question)
            return await question.answer()
        finally:
            await pool.aclose(0)

    def _account(self, chunk: Chunk) -> Account | Answer:
        if self._closed:
            return _CLOSED
        key = (chunk.app_id, chunk.credential_id)
        account = self._accounts.get(key)
        if account is not None and account.version > chunk.credential_version:
            return _REPLACED
        if account is None or account.version < chunk.credential_version:
            # Another process may have replaced it, of which nobody tells this one.
            self.forget(*key)
            account = self._accounts[key] = Account(chunk.credential_version, self._clock)
        return account

    def _line(self, account: Account, credential: ApnsCredential, environment: ApnsEnvironment) -> Line:
        """Raises KeyRefused."""
        key = token_key(credential, environment)
        line = self._lines.get(key)
        if line is None:
            token = self._tokens.of(credential, environment)
            pool = self._pool(environment, self._limits)
            line = self._lines[key] = Line(pool, self._settings.origin(environment).authority, token, self._clock)
        line.accounts.add(account)
        account.lines.add(key)
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


def _report_all(numbers: Sequence[int], answer: Answer, report: Report) -> None:
    for number in numbers:
        report(number, answer)
