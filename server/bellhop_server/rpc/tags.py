"""The methods of the registry that are about tags and subscriptions."""

from collections.abc import AsyncIterator
from typing import Any

from bellhop.v1 import push_registry_pb2 as reg
from bellhop.v1 import tag_pb2
from bellhop_server.app.authenticating import KEYS
from bellhop_server.app.tagging import Tagging
from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.errors import CredentialKindNotAccepted, CredentialsInvalid
from bellhop_server.domain.tag import Subscriber, SubscriptionQuery
from bellhop_server.rpc import mapping_tag
from bellhop_server.rpc.calls import caller, received
from bellhop_server.rpc.pages import BY_ID, Paging, Position
from bellhop_server.rpc.validation import validate

DEFAULT_PAGE = 100
MAX_PAGE = 1000

_OF_USERS = (SecretKind.APP, SecretKind.CLIENT)


class TagMethods:
    """Part of the PushRegistry service."""

    def __init__(self, tagging: Tagging) -> None:
        self._tagging = tagging

    async def CreateTag(self, request: reg.CreateTagRequest, context: Any) -> reg.CreateTagResponse:
        validate(request)
        tag = await self._tagging.create(caller().app_id, request.tag_name, request.description)
        return reg.CreateTagResponse(tag=mapping_tag.tag(tag))

    async def GetTag(self, request: reg.GetTagRequest, context: Any) -> reg.GetTagResponse:
        validate(request)
        tag = await self._tagging.get(caller().app_id, request.tag_name)
        return reg.GetTagResponse(tag=mapping_tag.tag(tag))

    async def ListTags(self, request: reg.ListTagsRequest, context: Any) -> reg.ListTagsResponse:
        validate(request)
        paging = Paging(request, caller().app_id, BY_ID, default=DEFAULT_PAGE, most=MAX_PAGE)
        after, count = str(paging.after[0]) if paging.after else "", request.return_subscription_count

        async def rows() -> AsyncIterator[tuple[tag_pb2.Tag, Position]]:
            for each in await self._tagging.list_tags(caller().app_id, after, paging.size + 1, count=count):
                yield mapping_tag.tag(each), [each.tag_name]

        page, token = await paging.fill(rows())
        return reg.ListTagsResponse(tags=page, next_page_token=token)

    async def UpdateTag(self, request: reg.UpdateTagRequest, context: Any) -> reg.UpdateTagResponse:
        validate(request)
        description = request.description if request.HasField("description") else None
        tag = await self._tagging.update(caller().app_id, request.tag_name, description)
        return reg.UpdateTagResponse(tag=mapping_tag.tag(tag))

    async def DeleteTag(self, request: reg.DeleteTagRequest, context: Any) -> reg.DeleteTagResponse:
        validate(request)
        return reg.DeleteTagResponse(existed=await self._tagging.delete(caller().app_id, request.tag_name))

    async def Subscribe(self, request: reg.SubscribeRequest, context: Any) -> reg.SubscribeResponse:
        validate(request)
        changes = await self._tagging.subscribe(_subscriber(request), list(request.tag_names))
        return reg.SubscribeResponse(changes=map(mapping_tag.change, changes))

    async def Unsubscribe(self, request: reg.UnsubscribeRequest, context: Any) -> reg.UnsubscribeResponse:
        validate(request)
        changes = await self._tagging.unsubscribe(_subscriber(request), list(request.tag_names))
        return reg.UnsubscribeResponse(changes=map(mapping_tag.change, changes))

    async def ListSubscriptions(
        self, request: reg.ListSubscriptionsRequest, context: Any
    ) -> reg.ListSubscriptionsResponse:
        validate(request)
        if SecretKind.APP not in caller().kinds:
            if not request.device_id:
                presented = ", ".join(KEYS[kind] for kind in sorted(caller().kinds))
                raise CredentialKindNotAccepted(presented, (KEYS[SecretKind.APP],))
            _check_device(request.device_id)
        paging = Paging(request, caller().app_id, BY_ID, default=DEFAULT_PAGE, most=MAX_PAGE)
        after = str(paging.after[0]) if paging.after else ""
        query = SubscriptionQuery(
            app_id=caller().app_id,
            now=received(),
            device_id=request.device_id,
            user_id=request.user_id,
            tag_name=request.tag_name,
            subscription_id=request.subscription_id,
        )

        async def rows() -> AsyncIterator[tuple[tag_pb2.Subscription, Position]]:
            for each in await self._tagging.subscriptions(query, after, paging.size + 1):
                yield mapping_tag.subscription(each), [each.subscription_id]

        page, token = await paging.fill(rows())
        return reg.ListSubscriptionsResponse(subscriptions=page, next_page_token=token)


def _subscriber(request: reg.SubscribeRequest | reg.UnsubscribeRequest) -> Subscriber:
    """Raises CredentialKindNotAccepted when a device's secret comes for a user, and as `_check_device`."""
    if request.HasField("user_id") and not caller().proof.authority:
        raise CredentialKindNotAccepted(KEYS[SecretKind.DEVICE], tuple(KEYS[kind] for kind in _OF_USERS))
    _check_device(request.device_id)
    return mapping_tag.subscriber_of(caller().app_id, request)


def _check_device(device_id: str) -> None:
    """Raises CredentialsInvalid when the caller has shown the secret of another device alone."""
    if not caller().proof.authority and device_id not in caller().devices:
        raise CredentialsInvalid()
