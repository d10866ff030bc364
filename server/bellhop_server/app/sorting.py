"""Before a hand-over: who of a batch is still the one that the message is for, and by which way each is reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from bellhop_server.app.brief import Brief
from bellhop_server.app.fencing import DIGITS
from bellhop_server.app.stamping import Stamper
from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import HANDOVER, Answer, Chunk, Delivery, Reading, Verdict
from bellhop_server.domain.device import DeviceState, Found
from bellhop_server.domain.message import AudienceKind, Message, Outcome
from bellhop_server.domain.routing import Place, Route, route
from bellhop_server.domain.terms import Terms

Entry = tuple[Item, Found, int]
"""An item, its device as it was read, and its position in the mark."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What goes one way. `entries` are None once answered. `until`: nothing is to be handed over later than that, since
    the bindings end; None: that is not so soon.
    """

    way: Route
    until: Micros | None
    terms: Terms
    deliveries: list[Delivery]
    entries: list[Entry | None]

    def chunk(self, message: Message, deadline: float) -> Chunk:
        """What the provider is to carry out by then."""
        credential = self.way.credential
        return Chunk(
            app_id=message.app_id,
            credential_id=credential.credential_id,
            credential_version=credential.version,
            credential=credential.secret,
            notification=message.notification,
            priority=message.options.priority,
            now_or_never=self.terms.now_or_never,
            deliveries=self.deliveries,
            deadline=deadline,
            apns_topic=self.way.apns_topic,
            apns_environment=self.way.apns_environment,
            vapid_public_key=self.way.vapid_public_key,
            message_id=message.message_id,
        )


@dataclass(frozen=True, slots=True)
class Sorted:
    """`moved`: items, with their positions, whose device has another target than the one that was marked. `withheld`:
    those that are not to be handed over, each with its outcome and the reason.
    """

    lots: list[Lot]
    moved: list[tuple[int, Item]]
    withheld: list[tuple[Item, Outcome, str]]


def sort(brief: Brief, items: Sequence[Item], reading: Reading, now: Micros, stamper: Stamper) -> Sorted:
    """Sorts the items by the way they go."""
    lots: dict[tuple[int, str, int | None, str, Micros | None, bool], Lot | Answer] = {}
    moved: list[tuple[int, Item]] = []
    withheld: list[tuple[Item, Outcome, str]] = []
    identity = _identity(brief.message)
    find = reading.devices.get
    to_users = brief.message.audience.kind is AudienceKind.USERS
    for position, item in enumerate(items):
        device = find(item.device_id)
        obstacle = "DeviceGone" if device is None else _obstacle(brief, to_users or item.by_user, item, device, now)
        if device is None or obstacle is not None:
            withheld.append((item, Outcome.SUPERSEDED, obstacle or ""))
            continue
        if device.target_digest[:DIGITS] != item.target_digest:
            item.target_digest, item.platform = device.target_digest[:DIGITS], device.platform
            moved.append((position, item))
            continue
        ends = device.binding_expire_time
        until, stamp = None, ""
        if ends is not None:
            if ends <= now:
                # Anonymous by now, and no binding's end concerns it.
                ends = None
            elif ends < now + HANDOVER * SECOND:
                until = ends
        if device.sealed_binding_key is not None and (ends is not None or device.binding_expire_time is None):
            stamp = stamper.stamp(brief.message, device)
        key = (device.platform, device.apns_topic, device.apns_environment, device.vapid_public_key, until, bool(stamp))
        lot = lots.get(key)
        if lot is None:
            way = route(reading.credentials, Place._make(key[:4]))
            lot = Lot(way, until, brief.terms(device.platform), [], []) if isinstance(way, Route) else way
            lots[key] = lot
        if isinstance(lot, Answer):
            outcome = Outcome.NOT_CONFIGURED if lot.verdict is Verdict.NOT_CONFIGURED else Outcome.CONFIG_ERROR
            withheld.append((item, outcome, lot.reason))
            continue
        end = lot.terms.expire_time
        lot.deliveries.append(
            Delivery(
                device.address,
                device.supplement,
                _provider_message_id(identity, item),
                end if ends is None else min(end, ends),
                stamp,
            )
        )
        lot.entries.append((item, device, position))
    return Sorted([lot for lot in lots.values() if isinstance(lot, Lot)], moved, withheld)


def _obstacle(brief: Brief, to_users: bool, item: Item, device: Found, now: Micros) -> str | None:
    """Why the device, as it is now, is no longer one that the message is for; None: it is."""
    audience = brief.message.audience
    expired = device.binding_expire_time is not None and device.binding_expire_time <= now
    if to_users:
        if device.user_id != item.user_id or device.binding_epoch != item.binding_epoch:
            return "BindingChanged"
        if expired:
            return "BindingExpired"
    if device.user_id in brief.excluded and not expired:
        return "UserExcluded"
    if audience.platforms and device.platform not in audience.platforms:
        return "PlatformExcluded"
    if device.state != DeviceState.ACTIVE:
        return f"Device{DeviceState(device.state).name.capitalize()}"
    return None


def _identity(message: Message) -> "blake2b":
    return blake2b(f"{message.app_id}\0{message.message_id}\0".encode(), digest_size=16)


def _provider_message_id(identity: "blake2b", item: Item) -> str:
    """A UUID that stays the same over retries and restarts, so that a provider may know a resend."""
    digest = identity.copy()
    digest.update(f"{item.device_id}\0{item.user_id}".encode())
    text = digest.hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
