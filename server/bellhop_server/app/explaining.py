"""Explaining a send: what each provider would be asked, without asking it."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex

from bellhop_server.app.brief import Brief
from bellhop_server.app.sorting import Sorted, sort
from bellhop_server.app.stamping import Stamper
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import BATCH_SIZE, Item
from bellhop_server.domain.delivery import Answer, ProviderRequest
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Message, MessageState, Outcome, Result, Send
from bellhop_server.domain.retry import decide
from bellhop_server.ports import Clock, Provider, Store

# The store's number of no message.
_NO_MESSAGE = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """What would happen for one device: the request, or the outcome that it would have without one.

    `platform` None, and `device_id` empty for a named user: there is no device.
    """

    device_id: str
    user_id: str
    platform: Platform | None
    request: ProviderRequest | None = None
    withheld: Outcome | None = None


class Explaining:
    """Resolves an audience and sorts it like a hand-over, and has the providers say what they would send."""

    def __init__(self, store: Store, providers: Mapping[Platform, Provider], clock: Clock, stamper: Stamper) -> None:
        self._store = store
        self._providers = providers
        self._clock = clock
        self._stamper = stamper

    async def explain(
        self, send: Send, max_devices: int, validate: Callable[[Micros], None]
    ) -> AsyncGenerator[Explained]:
        """The first `max_devices` devices, in the order in which the message would be planned.

        What waits for its time is explained as if that were now. Raises what `validate`, called with the time, raises.
        """
        now = self._clock.now()
        validate(now)
        brief = Brief(_message(send, now), frozenset(send.audience.exclude_user_ids))
        left, after = max_devices, ""
        while left:
            limit = min(left, BATCH_SIZE)
            page = await self._store.read_audience(send.app_id, send.audience, after, limit, now)
            explained = await self._explain(brief, page.items[:left], now)
            missing = [_missing(each) for each in page.missing]
            for each in [*explained, *missing][:left]:
                left -= 1
                yield each
            if page.after is None:
                return
            after = page.after

    async def _explain(self, brief: Brief, items: list[Item], now: Micros) -> list[Explained]:
        if not items:
            return []
        device_ids = [item.device_id for item in items]
        reading = await self._store.read_present(brief.message.app_id, _NO_MESSAGE, device_ids)
        sorted_out = sort(brief, items, reading, now, self._stamper)
        found: dict[str, ProviderRequest | Outcome] = {}
        # One that moved while it was looked at is explained where it is now.
        again = [item for _, item in sorted_out.moved]
        for each in (sorted_out, sort(brief, again, reading, now, self._stamper)):
            found.update({item.device_id: outcome for item, outcome, _ in each.withheld})
            found.update(self._requests(brief, each, now))
        return [_explained(item, found[item.device_id]) for item in items]

    def _requests(self, brief: Brief, sorted_out: Sorted, now: Micros) -> dict[str, ProviderRequest | Outcome]:
        found: dict[str, ProviderRequest | Outcome] = {}
        for lot in sorted_out.lots:
            provider = self._providers[lot.way.credential.platform]
            for entry, said in zip(lot.entries, provider.explain(lot.chunk(brief.message, 0.0)), strict=True):
                assert entry is not None
                item, _, _ = entry
                found[item.device_id] = _outcome(brief, item, said, now) if isinstance(said, Answer) else said
        return found


def _outcome(brief: Brief, item: Item, answer: Answer, now: Micros) -> Outcome:
    outcome = decide(item, answer, brief.terms(item.platform), now)
    # What a provider's adapter says before it has asked anybody is final.
    assert isinstance(outcome, Outcome)
    return outcome


def _explained(item: Item, found: ProviderRequest | Outcome) -> Explained:
    platform = Platform(item.platform)
    if isinstance(found, ProviderRequest):
        return Explained(item.device_id, item.user_id, platform, request=found)
    return Explained(item.device_id, item.user_id, platform, withheld=found)


def _missing(result: Result) -> Explained:
    platform = Platform(result.platform) if result.platform else None
    return Explained(result.device_id, result.user_id, platform, withheld=result.outcome)


def _message(send: Send, now: Micros) -> Message:
    return Message(
        ref=_NO_MESSAGE,
        app_id=send.app_id,
        message_id=send.message_id or token_hex(16),
        request_id=send.request_id,
        state=MessageState.SENDING,
        accept_time=now,
        expire_time=send.options.fire_time(now) + send.options.ttl,
        complete_time=None,
        audience=send.audience,
        notification=send.notification,
        options=send.options,
    )
