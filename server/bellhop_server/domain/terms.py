"""On what terms a message goes by one network: what is said for that network alone wins over what is said for all."""

from dataclasses import dataclass

from bellhop_server.domain import MINUTE, Micros
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Message, ResendPolicy
from bellhop_server.domain.notification import ApnsOverride, FcmOverride, Notification, Priority, WebPushOverride

# A message with ttl 0 is now or never; "now" leaves room for planning a large audience and for requests that were
# surely not taken, and no more.
NOW: Micros = MINUTE

MAX_RESENDS_IN_DOUBT = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """`expire_time`: when a provider shall stop trying. `last_call`: until when the message may be handed over at all.
    `now_or_never`: the sender gave ttl 0: one attempt, and again only what was surely not taken. `collapse_key`: what a
    later message replaces this one by; empty: nothing.
    """

    expire_time: Micros
    last_call: Micros
    now_or_never: bool
    priority: Priority
    collapse_key: str
    resend: ResendPolicy

    def may_resend(self, doubts: int) -> bool:
        """Whether a push that may have left may go again, after that many doubtful hand-overs."""
        if self.now_or_never or doubts > MAX_RESENDS_IN_DOUBT:
            return False
        if self.resend is ResendPolicy.IF_REPLACEABLE:
            return bool(self.collapse_key)
        return self.resend is ResendPolicy.ALWAYS


def terms(message: Message, platform: int) -> Terms:
    """The terms of a message on that network."""
    override = override_of(message.notification, platform)
    ttl = message.options.ttl
    priority, collapse_key = message.options.priority, message.notification.collapse_key
    if override is not None:
        ttl = ttl if override.ttl is None else override.ttl
        priority = override.priority or priority
        collapse_key = collapse_key if override.collapse_key is None else override.collapse_key
    expire_time = message.fire_time + ttl
    return Terms(
        expire_time=expire_time,
        last_call=expire_time if ttl else message.fire_time + NOW,
        now_or_never=ttl == 0,
        priority=priority,
        collapse_key=collapse_key,
        resend=message.options.resend,
    )


def override_of(notification: Notification, platform: int) -> ApnsOverride | FcmOverride | WebPushOverride | None:
    """What is said for one network alone."""
    match platform:
        case Platform.APNS:
            return notification.apns
        case Platform.FCM:
            return notification.fcm
        case Platform.WEB_PUSH:
            return notification.web_push
        case _:
            return None
