"""The calls of bellhop.v1.PushRegistry about tags. What the arguments mean is said in the contract."""

from collections.abc import AsyncIterator, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from bellhop.v1 import push_registry_pb2 as pb
from bellhop.v1.push_registry_pb2_grpc import PushRegistryStub
from bellhop.v1.tag_pb2 import Subscription, Tag
from bellhop_client.connection import Connection

if TYPE_CHECKING:
    from bellhop.v1.push_registry_pb2_grpc import PushRegistryAsyncStub


class TagCalls(Connection):
    """Tags, and who is subscribed to them. Each method raises BellhopError."""

    @cached_property
    def _tags(self) -> "PushRegistryAsyncStub":
        return PushRegistryStub(self._channel)

    async def create_tag(self, *, tag_name: str, description: str = "") -> pb.CreateTagResponse:
        """Makes a tag."""
        return await self._call(self._tags.CreateTag, pb.CreateTagRequest(tag_name=tag_name, description=description))

    async def get_tag(self, *, tag_name: str) -> pb.GetTagResponse:
        """Returns one tag with its number of subscriptions."""
        return await self._call(self._tags.GetTag, pb.GetTagRequest(tag_name=tag_name))

    async def list_tags(
        self, *, page_size: int = 0, page_token: str = "", return_subscription_count: bool = False
    ) -> pb.ListTagsResponse:
        """One page of tags; `tags` walks over all of them."""
        request = pb.ListTagsRequest(
            page_size=page_size, page_token=page_token, return_subscription_count=return_subscription_count
        )
        return await self._call(self._tags.ListTags, request)

    async def tags(self, *, return_subscription_count: bool = False, page_size: int = 0) -> AsyncIterator[Tag]:
        """All tags, page by page."""
        request = pb.ListTagsRequest(page_size=page_size, return_subscription_count=return_subscription_count)
        async for page in self._pages(self._tags.ListTags, request):
            for tag in page.tags:
                yield tag

    async def update_tag(self, *, tag_name: str, description: str | None = None) -> pb.UpdateTagResponse:
        """Changes what is not None."""
        return await self._call(self._tags.UpdateTag, pb.UpdateTagRequest(tag_name=tag_name, description=description))

    async def delete_tag(self, *, tag_name: str) -> pb.DeleteTagResponse:
        """Deletes a tag with its subscriptions."""
        return await self._call(self._tags.DeleteTag, pb.DeleteTagRequest(tag_name=tag_name))

    async def subscribe(
        self, *, tag_names: Iterable[str], device_id: str | None = None, user_id: str | None = None
    ) -> pb.SubscribeResponse:
        """Subscribes a device or a user to tags; each tag has its own answer."""
        request = pb.SubscribeRequest(tag_names=tag_names, **_subscriber(device_id, user_id))
        return await self._call(self._tags.Subscribe, request)

    async def unsubscribe(
        self, *, tag_names: Iterable[str], device_id: str | None = None, user_id: str | None = None
    ) -> pb.UnsubscribeResponse:
        """Unsubscribes a device or a user from tags; each tag has its own answer."""
        request = pb.UnsubscribeRequest(tag_names=tag_names, **_subscriber(device_id, user_id))
        return await self._call(self._tags.Unsubscribe, request)

    async def list_subscriptions(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        device_id: str = "",
        user_id: str = "",
        tag_name: str = "",
        subscription_id: str = "",
    ) -> pb.ListSubscriptionsResponse:
        """One page of subscriptions; `subscriptions` walks over all of them."""
        request = pb.ListSubscriptionsRequest(
            page_size=page_size,
            page_token=page_token,
            device_id=device_id,
            user_id=user_id,
            tag_name=tag_name,
            subscription_id=subscription_id,
        )
        return await self._call(self._tags.ListSubscriptions, request)

    async def subscriptions(
        self, *, device_id: str = "", user_id: str = "", tag_name: str = "", page_size: int = 0
    ) -> AsyncIterator[Subscription]:
        """All subscriptions that the filters match, page by page."""
        request = pb.ListSubscriptionsRequest(
            page_size=page_size, device_id=device_id, user_id=user_id, tag_name=tag_name
        )
        async for page in self._pages(self._tags.ListSubscriptions, request):
            for subscription in page.subscriptions:
                yield subscription


def _subscriber(device_id: str | None, user_id: str | None) -> dict[str, str]:
    """Raises ValueError unless one of them is given."""
    if (device_id is None) == (user_id is None):
        raise ValueError("give a device_id or a user_id")
    return {"user_id": user_id} if user_id is not None else {"device_id": device_id or ""}
