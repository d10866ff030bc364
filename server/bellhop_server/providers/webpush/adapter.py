"""The Web Push provider: chunks of deliveries in, an answer for each out, by as many push services as they name."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable

from bellhop_server.domain.application import (
    Breaker,
    Credential,
    CredentialOffer,
    ProbeResult,
    ProviderSecret,
    WebPushCredential,
    WebPushOffer,
)
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import Violation
from bellhop_server.ports import Clock
from bellhop_server.providers.account import Account, Accounts
from bellhop_server.providers.addresses import Addresses, Blocked
from bellhop_server.providers.courier import Courier, report_all
from bellhop_server.providers.engine import EngineFactory
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns
from bellhop_server.providers.webpush import explaining, keyring
from bellhop_server.providers.webpush.encryption import recipient
from bellhop_server.providers.webpush.errand import WebPushErrand
from bellhop_server.providers.webpush.hosts import Endpoint
from bellhop_server.providers.webpush.line import EVIDENCE_SECONDS, WebPushLine
from bellhop_server.providers.webpush.payload import Rendered, render
from bellhop_server.providers.webpush.settings import WebPushSettings
from bellhop_server.providers.webpush.vapid import KeyRefused, VapidTokens

# One that speaks HTTP/1.1 takes a request at a time on each.
LIMITS = Limits(connections=8)

MOST_LINES = 256
# A way that nobody uses is kept as long as what it has learnt of keys is worth something.
IDLE = EVIDENCE_SECONDS
# For the name of a host that nobody has vouched for.
LOOK_UP = 2.0

_CLOSED = Answer(Verdict.NOT_SENT, reason=Reason.SHUTTING_DOWN.value)
_REPLACED = Answer(Verdict.NOT_SENT, reason=Reason.CREDENTIAL_REPLACED.value)
_TOO_MANY = Answer(Verdict.NOT_SENT, reason=Reason.NO_CAPACITY.value)
_UNREADABLE_KEY = Answer(Verdict.CREDENTIALS_INVALID, reason=Reason.KEY_UNREADABLE.value)
_PROBED = "checked here: a push service judges a key by a subscription alone"


class WebPushProvider:
    """Implements `ports.Provider`. To be made and used on a running event loop; `turns` is one for the process."""

    def __init__(
        self,
        settings: WebPushSettings,
        clock: Clock,
        turns: Turns,
        *,
        limits: Limits = LIMITS,
        engine: EngineFactory | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """`addresses` looks up what hosts' names mean. Raises OSError or ssl.SSLError when the authorities cannot be
        read.
        """
        self._hosts = settings.allowed
        self._clock = clock
        self._turns = turns
        self._limits = limits
        self._engine = engine
        self._tls = client_context(settings.ca_file, http1=True)
        self._addresses = addresses or Addresses(settings.allowed.private)
        self._tokens = VapidTokens(clock)
        self._accounts: Accounts[WebPushLine] = Accounts(Platform.WEB_PUSH, clock)
        self._courier = Courier(clock)
        self._lines: OrderedDict[str, WebPushLine] = OrderedDict()
        """By origin, the ones used last behind."""
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def platform(self) -> Platform:
        """See `ports.Provider`."""
        return Platform.WEB_PUSH

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        """See `ports.Provider`."""
        if not chunk.deliveries:
            return
        everyone = range(len(chunk.deliveries))
        if self._closed:
            report_all(everyone, _CLOSED, report)
            return
        if self._accounts.outdated(chunk):
            self.forget(chunk.app_id, chunk.credential_id)
        account, rendered = self._accounts.of(chunk), render(chunk)
        if isinstance(account, Answer):
            report_all(everyone, account, report)
            return
        if isinstance(rendered, Answer):
            report_all(everyone, rendered, report)
            return
        places: defaultdict[str, dict[int, Endpoint]] = defaultdict(dict)
        for number, delivery in enumerate(chunk.deliveries):
            endpoint = self._hosts.check(delivery.address)
            if isinstance(endpoint, str):
                report(number, explaining.BLOCKED)
            else:
                places[endpoint.authority][number] = endpoint
        ways = []
        for endpoints in places.values():
            errand = self._errand(chunk, rendered, account, endpoints)
            if isinstance(errand, Answer):
                report_all(tuple(endpoints), errand, report)
            else:
                ways.append(self._courier.deliver(errand, tuple(endpoints), report, handed_over))
        if len(ways) == 1:
            await ways[0]
            return
        for failure in await asyncio.gather(*ways, return_exceptions=True):
            if failure is not None:
                raise failure

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        """See `ports.Provider`."""
        assert isinstance(offer, WebPushOffer)
        return keyring.accept(offer, present)

    async def check_target(self, target: Target) -> list[Violation]:
        """See `ports.Provider`. Where a name leads is looked at only if nobody has named that host: it may change."""
        violations = []
        endpoint = self._hosts.check(target.address)
        if isinstance(endpoint, str):
            violations.append(Violation("web_push.endpoint", endpoint))
        elif not self._hosts.named(endpoint) and await self._leads_inside(endpoint):
            violations.append(Violation("web_push.endpoint", "leads to an address that is not a public one"))
        p256dh, _, auth = target.supplement.partition(".")
        try:
            recipient(p256dh, auth)
        except ValueError as error:
            field, _, problem = str(error).partition(" ")
            violations.append(Violation(f"web_push.{field}", problem))
        return violations

    def explain(self, chunk: Chunk) -> list[ProviderRequest | Answer]:
        """See `ports.Provider`."""
        return explaining.explain(chunk, self._hosts, self._clock.now())

    async def probe(self, credential: Credential) -> ProbeResult:
        """See `ports.Provider`. There is nobody to ask; that the key can sign is looked at."""
        secret = credential.secret
        assert isinstance(secret, WebPushCredential)
        try:
            self._tokens.authorization(secret.keys[0], secret.subject, "https://probe.invalid")
        except KeyRefused:
            return ProbeResult(False, _UNREADABLE_KEY.reason, self._clock.now())
        return ProbeResult(True, _PROBED, self._clock.now())

    def breakers(self, app_id: str | None = None) -> list[Breaker]:
        """See `ports.Provider`."""
        return self._accounts.breakers(app_id)

    def forget(self, app_id: str, credential_id: str) -> None:
        """See `ports.Provider`. What waits to be sent under it is NOT_SENT; answers under way are still waited for."""
        account = self._accounts.remove(app_id, credential_id)
        if account is not None:
            for line in account.lines:
                line.withdraw(account, _REPLACED)
                line.leave(account)

    async def aclose(self) -> None:
        """See `ports.Provider`."""
        self._closed = True
        await asyncio.gather(*(line.pool.aclose() for line in self._lines.values()), *self._closing)
        self._addresses.close()

    def _errand(
        self, chunk: Chunk, rendered: Rendered, account: Account[WebPushLine], endpoints: dict[int, Endpoint]
    ) -> WebPushErrand | Answer:
        secret = chunk.credential
        assert isinstance(secret, WebPushCredential)
        line = self._line(next(iter(endpoints.values())))
        if line is None:
            return _TOO_MANY
        key = secret.key(chunk.vapid_public_key)
        assert key is not None, "the route has found it"
        try:
            authorization = self._tokens.authorization(key, secret.subject, line.origin)
        except KeyRefused:
            return _UNREADABLE_KEY
        line.serve(account)
        paths = {number: endpoint.path.encode() for number, endpoint in endpoints.items()}
        return WebPushErrand(chunk, rendered, account, line, paths, authorization, self._clock)

    def _line(self, endpoint: Endpoint) -> WebPushLine | None:
        """None: there are too many in use."""
        line = self._lines.get(endpoint.origin)
        if line is None:
            self._close_idle()
            if len(self._lines) >= MOST_LINES:
                return None
            pool = Pool(
                endpoint.host,
                endpoint.port,
                tls=self._tls,
                turns=self._turns,
                limits=self._limits,
                engine=self._engine,
                http1=True,
                resolve=self._addresses.resolve,
                clock=self._clock.monotonic,
            )
            line = self._lines[endpoint.origin] = WebPushLine(endpoint, pool, self._clock)
        self._lines.move_to_end(endpoint.origin)
        return line

    def _close_idle(self) -> None:
        """Gives up the ways that nobody has used for a while, and the one used longest ago where there are too many."""
        now = self._clock.monotonic()
        idle = [line for line in self._lines.values() if not (line.pool.busy or line.flights)]
        room = MOST_LINES - len(self._lines)
        for line in idle:
            if room > 0 and now - line.pool.used < IDLE:
                continue
            room += 1
            del self._lines[line.origin]
            for account in line.accounts:
                account.lines.discard(line)
            task = asyncio.create_task(line.pool.aclose(0))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _leads_inside(self, endpoint: Endpoint) -> bool:
        try:
            async with asyncio.timeout(LOOK_UP):
                await self._addresses.resolve(endpoint.host, endpoint.port)
        except Blocked:
            return True
        except (OSError, TimeoutError):
            # It is judged again at each connection.
            return False
        return False
