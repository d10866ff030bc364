"""Tags and subscriptions: messages of the contract to nouns of the domain and back."""

from bellhop.v1 import push_registry_pb2 as reg
from bellhop.v1 import tag_pb2
from bellhop_server.domain.tag import Subscriber, Subscription, SubscriptionChange, Tag
from bellhop_server.rpc.mapping import timestamp


def subscriber_of(app_id: str, request: reg.SubscribeRequest | reg.UnsubscribeRequest) -> Subscriber:
    """Who is to be subscribed or unsubscribed."""
    return Subscriber(app_id, request.device_id, request.user_id)


def tag(value: Tag) -> tag_pb2.Tag:
    """A tag as it is shown."""
    return tag_pb2.Tag(
        tag_name=value.tag_name,
        description=value.description,
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        subscription_count=value.subscription_count,
    )


def subscription(value: Subscription) -> tag_pb2.Subscription:
    """A subscription as it is shown."""
    shown = tag_pb2.Subscription(
        subscription_id=value.subscription_id,
        tag_name=value.tag_name,
        create_time=timestamp(value.create_time),
    )
    if value.subscriber.device_id:
        shown.device_id = value.subscriber.device_id
    else:
        shown.user_id = value.subscriber.user_id
    return shown


def change(value: SubscriptionChange) -> reg.SubscriptionChange:
    """What happened to one tag."""
    return reg.SubscriptionChange(
        tag_name=value.tag_name,
        outcome=reg.SubscriptionOutcome.ValueType(value.outcome),
        subscription=None if value.subscription is None else subscription(value.subscription),
    )
