"""What the connections of a simulated push service share."""

from dataclasses import dataclass, field

from bellhop_simulators.serving.world import World
from bellhop_simulators.webpush.message_resources import MessageResources
from bellhop_simulators.webpush.subscriptions import Subscriptions
from bellhop_simulators.webpush.vapid import VapidTokens


@dataclass(eq=False)
class WebPushWorld(World):
    """Browsers, message resources and tokens as well."""

    max_concurrent_streams: int = 100
    subscriptions: Subscriptions = field(init=False)
    resources: MessageResources = field(default_factory=MessageResources, init=False)
    tokens: VapidTokens = field(default_factory=VapidTokens, init=False)

    def __post_init__(self) -> None:
        self.subscriptions = Subscriptions(self.clock)
