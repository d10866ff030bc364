"""Tags and interactions over the wire: who is reached by a tag, who may say what, what is told of it."""

from typing import Any

import grpc
import pytest

from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from tests.system.live_server import Live, Shop, credentials, refusal, told

NOT_FOUND, DENIED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
SEEN, OPENED, DISMISSED = (
    message_pb2.INTERACTION_SEEN,
    message_pb2.INTERACTION_OPENED,
    message_pb2.INTERACTION_DISMISSED,
)


@pytest.fixture
async def secret(live: Live, shop: Shop) -> str:
    """The device secret of `phone`, which is ann's; ben has `tablet`, and there are two tags."""
    await live.credential(shop)
    mine = await login(live, shop, "phone", "ann")
    await login(live, shop, "tablet", "ben")
    for name in ("news", "sport"):
        await live.registry.CreateTag(reg.CreateTagRequest(tag_name=name), metadata=shop.sender)
    return mine


async def login(live: Live, shop: Shop, device_id: str, user_id: str) -> str:
    target = {"token": device_id.encode().hex()}
    request = reg.RegisterDeviceRequest(device_id=device_id, user_id=user_id, apns=target)
    return str((await live.registry.RegisterDevice(request, metadata=shop.client)).device_secret)


async def subscribe(live: Live, shop: Shop, *tag_names: str, **who: str) -> list[int]:
    request = reg.SubscribeRequest(tag_names=tag_names, **who)
    changes = (await live.registry.Subscribe(request, metadata=shop.client)).changes
    assert [change.tag_name for change in changes] == list(tag_names)
    return [change.outcome for change in changes]


def send(*tag_names: str, **changes: Any) -> notes.SendRequest:
    fields = {"audience": {"tags": {"tag_names": tag_names}}, "notification": {"title": "T"}}
    return notes.SendRequest(**{**fields, **changes})


async def sent(live: Live, shop: Shop, request: notes.SendRequest) -> tuple[str, list[tuple[str, str]]]:
    """The message and the (device, user) of each result, all of them accepted."""
    events = [each.event async for each in live.notifier.Send(request, metadata=shop.sender)]
    results = [result for event in events for result in event.results.results]
    assert {each.outcome for each in results} <= {message_pb2.OUTCOME_ACCEPTED}
    return events[0].accepted.message_id, sorted((each.device_id, each.user_id) for each in results)


async def test_a_tag_reaches_devices_and_the_people_on_them(live: Live, shop: Shop, secret: str) -> None:
    created, existed = reg.SUBSCRIPTION_OUTCOME_CREATED, reg.SUBSCRIPTION_OUTCOME_EXISTED
    assert await subscribe(live, shop, "news", "sport", device_id="phone") == [created, created]
    assert await subscribe(live, shop, "sport", "none", "Push.ALL", "news", user_id="ben") == [
        created,
        reg.SUBSCRIPTION_OUTCOME_TAG_NOT_FOUND,
        reg.SUBSCRIPTION_OUTCOME_TAG_NOT_FOUND,
        created,
    ]
    assert await subscribe(live, shop, "sport", user_id="ben") == [existed]
    assert (await sent(live, shop, send("news", "sport")))[1] == [("phone", "ann"), ("tablet", "ben")]
    assert (await sent(live, shop, send("Push.ALL")))[1] == [("phone", "ann"), ("tablet", "ben")]
    excluded = send("news", audience={"tags": {"tag_names": ["news"]}, "exclude_user_ids": ["ann"]})
    assert (await sent(live, shop, excluded))[1] == [("tablet", "ben")]

    # The device's own stay with it, ben's leave with him and come with him.
    await login(live, shop, "phone", "cid")
    await login(live, shop, "tablet", "cid")
    assert (await sent(live, shop, send("news")))[1] == [("phone", "cid")]
    await login(live, shop, "watch", "ben")
    assert (await sent(live, shop, send("news")))[1] == [("phone", "cid"), ("watch", "ben")]
    await live.registry.UnregisterDevice(reg.UnregisterDeviceRequest(device_id="phone"), metadata=shop.client)
    await login(live, shop, "phone", "cid")
    assert (await sent(live, shop, send("news")))[1] == [("watch", "ben")]
    off = reg.UnsubscribeRequest(user_id="ben", tag_names=["news", "none"])
    changes = (await live.registry.Unsubscribe(off, metadata=shop.client)).changes
    assert [change.outcome for change in changes] == [
        reg.SUBSCRIPTION_OUTCOME_REMOVED,
        reg.SUBSCRIPTION_OUTCOME_TAG_NOT_FOUND,
    ]
    assert (await sent(live, shop, send("news")))[1] == []


async def test_a_message_to_tags_shows_and_explains_them(live: Live, shop: Shop, secret: str) -> None:
    await subscribe(live, shop, "news", user_id="ann")
    message_id, _ = await sent(live, shop, send("news"))
    request = notes.GetMessageRequest(message_id=message_id, view=notes.MESSAGE_VIEW_FULL)
    shown = (await live.notifier.GetMessage(request, metadata=shop.sender)).message
    assert shown.audience == send("news").audience
    counted = [each async for each in live.notifier.Send(send("news", validate_only=True), metadata=shop.sender)]
    assert [each.event.validated.counts.device_count for each in counted] == [1]
    explain = notes.ExplainSendRequest(audience=send("news").audience, notification={"title": "T"})
    explained = [each async for each in live.notifier.ExplainSend(explain, metadata=shop.sender)]
    assert [(each.device_id, each.HasField("request")) for each in explained] == [("phone", True)]


@pytest.mark.promise("P8")
async def test_a_tag_that_is_gone_takes_no_message_but_repeats(live: Live, shop: Shop, secret: str) -> None:
    missing = (NOT_FOUND, "TAG_NOT_FOUND", {"tag_name": "none"})
    for request in (send("news", "none"), send("none", request_id="r2"), send("none", validate_only=True)):
        assert told(await refusal(live.notifier.Send(request, metadata=shop.sender))) == missing
    await subscribe(live, shop, "news", user_id="ann")
    message_id, reached = await sent(live, shop, send("news", request_id="r1"))
    assert reached == [("phone", "ann")]
    assert (await live.registry.DeleteTag(reg.DeleteTagRequest(tag_name="news"), metadata=shop.sender)).existed
    assert await sent(live, shop, send("news", request_id="r1")) == (message_id, reached)
    assert len(live.provider.chunks) == 1
    gone = await refusal(live.notifier.Send(send("news", request_id="r2"), metadata=shop.sender))
    assert told(gone) == (NOT_FOUND, "TAG_NOT_FOUND", {"tag_name": "news"})
    reused = await refusal(live.notifier.Send(send("news", "sport", request_id="r1"), metadata=shop.sender))
    assert told(reused)[1] == "REQUEST_ID_REUSED"


async def test_tags_are_listed_with_the_built_in_one_among_them(live: Live, shop: Shop, secret: str) -> None:
    await live.registry.CreateTag(reg.CreateTagRequest(tag_name="A", description="a"), metadata=shop.sender)
    await subscribe(live, shop, "news", device_id="phone")
    names, token = [], ""
    while True:
        request = reg.ListTagsRequest(page_size=1, page_token=token, return_subscription_count=True)
        page = await live.registry.ListTags(request, metadata=shop.sender)
        names += [(tag.tag_name, tag.subscription_count) for tag in page.tags]
        if not (token := page.next_page_token):
            break
    assert names == [("A", 0), ("Push.ALL", 2), ("news", 1), ("sport", 0)]
    page = await live.registry.ListTags(reg.ListTagsRequest(), metadata=shop.sender)
    assert [tag.tag_name for tag in page.tags] == [name for name, _ in names]
    assert not any(tag.HasField("subscription_count") for tag in page.tags)

    changed = reg.UpdateTagRequest(tag_name="A", description="")
    assert (await live.registry.UpdateTag(changed, metadata=shop.sender)).tag.description == ""
    got = (await live.registry.GetTag(reg.GetTagRequest(tag_name="A"), metadata=shop.sender)).tag
    assert got.subscription_count == 0
    assert got.update_time.ToMicroseconds() >= got.create_time.ToMicroseconds()
    everyone = (await live.registry.GetTag(reg.GetTagRequest(tag_name="Push.ALL"), metadata=shop.sender)).tag
    assert everyone.subscription_count == 2
    assert everyone.create_time == everyone.update_time


async def test_what_is_wrong_with_tags_is_told(live: Live, shop: Shop, secret: str) -> None:
    calls = live.registry
    built_in = (grpc.StatusCode.FAILED_PRECONDITION, "TAG_BUILT_IN", {"tag_name": "Push.ALL"})
    for call in (
        calls.UpdateTag(reg.UpdateTagRequest(tag_name="Push.ALL"), metadata=shop.sender),
        calls.DeleteTag(reg.DeleteTagRequest(tag_name="Push.ALL"), metadata=shop.sender),
    ):
        assert told(await refusal(call)) == built_in
    for name in ("Push.ALL", "news"):
        taken = await refusal(calls.CreateTag(reg.CreateTagRequest(tag_name=name), metadata=shop.sender))
        assert told(taken) == (grpc.StatusCode.ALREADY_EXISTS, "TAG_ALREADY_EXISTS", {"tag_name": name})
    for call in (
        calls.GetTag(reg.GetTagRequest(tag_name="none"), metadata=shop.sender),
        calls.UpdateTag(reg.UpdateTagRequest(tag_name="none"), metadata=shop.sender),
    ):
        assert told(await refusal(call)) == (NOT_FOUND, "TAG_NOT_FOUND", {"tag_name": "none"})
    wrong = [
        calls.CreateTag(reg.CreateTagRequest(tag_name="a\n"), metadata=shop.sender),
        calls.CreateTag(reg.CreateTagRequest(tag_name="a" * 129), metadata=shop.sender),
        calls.CreateTag(reg.CreateTagRequest(tag_name="a", description="\0"), metadata=shop.sender),
        calls.CreateTag(reg.CreateTagRequest(tag_name="a", description="a" * 1025), metadata=shop.sender),
        calls.Subscribe(reg.SubscribeRequest(tag_names=["news"]), metadata=shop.client),
        calls.Subscribe(reg.SubscribeRequest(user_id="ann"), metadata=shop.client),
        calls.Subscribe(reg.SubscribeRequest(user_id="ann", tag_names=["a", "a"]), metadata=shop.client),
        calls.Subscribe(reg.SubscribeRequest(user_id="anonymous", tag_names=["a"]), metadata=shop.client),
        calls.Unsubscribe(reg.UnsubscribeRequest(user_id="a", tag_names=map(str, range(101))), metadata=shop.client),
        calls.ListSubscriptions(reg.ListSubscriptionsRequest(subscription_id="x"), metadata=shop.sender),
        calls.ReportInteraction(reg.ReportInteractionRequest(), metadata=shop.client),
        calls.ReportInteraction(
            reg.ReportInteractionRequest(message_id="m", device_id="d", interaction=9), metadata=shop.client
        ),
    ]
    for call in wrong:
        assert told(await refusal(call))[1] == "INVALID_REQUEST"
    for tag_names in ([], ["news", "news"], [""], ["a"] * 101):
        refused = await refusal(live.notifier.Send(send(*tag_names), metadata=shop.sender))
        assert told(refused)[1] == "INVALID_REQUEST"


async def test_a_device_speaks_for_itself_alone(live: Live, shop: Shop, secret: str) -> None:
    own, calls = credentials("shop", device_secret=secret), live.registry
    request = reg.SubscribeRequest(device_id="phone", tag_names=["news"])
    change = (await calls.Subscribe(request, metadata=own)).changes[0]
    await subscribe(live, shop, "sport", user_id="ann")
    await subscribe(live, shop, "news", user_id="ben")

    def listed(metadata: Any, **filters: str) -> Any:
        return calls.ListSubscriptions(reg.ListSubscriptionsRequest(**filters), metadata=metadata)

    for metadata in (own, shop.client, shop.sender):
        shown = (await listed(metadata, device_id="phone")).subscriptions
        assert {(each.tag_name, each.WhichOneof("subscriber")) for each in shown} == {
            ("news", "device_id"),
            ("sport", "user_id"),
        }
        assert change.subscription in shown
    assert len((await listed(shop.sender)).subscriptions) == 3
    exact = change.subscription.subscription_id
    assert list((await listed(shop.sender, subscription_id=exact)).subscriptions) == [change.subscription]
    for metadata, kind in ((own, "device-secret"), (shop.client, "client-secret")):
        refused = told(await refusal(listed(metadata, user_id="ann")))
        assert refused == (DENIED, "CREDENTIAL_KIND_NOT_ACCEPTED", {"presented": kind, "accepted": "app-secret"})
    refused = await refusal(calls.Subscribe(reg.SubscribeRequest(user_id="ann", tag_names=["a"]), metadata=own))
    assert told(refused)[:2] == (DENIED, "CREDENTIAL_KIND_NOT_ACCEPTED")
    for call in (
        calls.Subscribe(reg.SubscribeRequest(device_id="tablet", tag_names=["a"]), metadata=own),
        calls.Unsubscribe(reg.UnsubscribeRequest(device_id="tablet", tag_names=["a"]), metadata=own),
        listed(own, device_id="tablet"),
        calls.ReportInteraction(
            reg.ReportInteractionRequest(message_id="m", device_id="tablet", interaction=SEEN), metadata=own
        ),
    ):
        assert told(await refusal(call))[1] == "CREDENTIALS_INVALID"
    for call in (
        calls.Subscribe(reg.SubscribeRequest(device_id="none", tag_names=["a"]), metadata=shop.client),
        listed(shop.client, device_id="none"),
    ):
        assert told(await refusal(call))[1] == "DEVICE_NOT_FOUND"


async def test_devices_are_listed_by_tag(live: Live, shop: Shop, secret: str) -> None:
    await subscribe(live, shop, "news", device_id="phone")
    await subscribe(live, shop, "news", user_id="ben")

    async def listed(**filters: Any) -> tuple[list[str], int]:
        request = reg.ListDevicesRequest(return_total_size=True, **filters)
        page = await live.registry.ListDevices(request, metadata=shop.sender)
        return [device.device_id for device in page.devices], page.total_size

    assert await listed(tag_name="news") == (["phone", "tablet"], 2)
    assert await listed(tag_name="news", user_id="ben") == (["tablet"], 1)
    assert await listed(tag_name="news", page_size=1) == (["phone"], 2)
    assert await listed(tag_name="sport") == ([], 0)
    assert await listed(tag_name="Push.ALL") == (["phone", "tablet"], 2)
    await live.registry.UnregisterUser(reg.UnregisterUserRequest(user_id="ben"), metadata=shop.client)
    assert await listed(tag_name="news") == (["phone"], 1)


async def test_what_people_did_is_counted_and_shown_beside_the_results(live: Live, shop: Shop, secret: str) -> None:
    own = credentials("shop", device_secret=secret)
    message_id, _ = await sent(live, shop, send("Push.ALL"))

    async def streamed() -> list[event_pb2.SendEvent]:
        watch = notes.WatchMessageRequest(message_id=message_id)
        return [each.event async for each in live.notifier.WatchMessage(watch, metadata=shop.sender)]

    before = await streamed()
    for metadata, device_id, interaction in (
        (own, "phone", OPENED),
        (own, "phone", SEEN),
        (own, "phone", SEEN),
        (shop.client, "tablet", SEEN),
        (shop.sender, "tablet", DISMISSED),
    ):
        request = reg.ReportInteractionRequest(message_id=message_id, device_id=device_id, interaction=interaction)
        assert await live.registry.ReportInteraction(request, metadata=metadata) == reg.ReportInteractionResponse()

    counted = [
        message_pb2.InteractionCount(platform=device_pb2.PLATFORM_APNS, interaction=interaction, count=count)
        for interaction, count in ((SEEN, 2), (OPENED, 1), (DISMISSED, 1))
    ]
    got = await live.notifier.GetMessage(notes.GetMessageRequest(message_id=message_id), metadata=shop.sender)
    assert list(got.message.counts.interactions) == counted
    page = await live.notifier.ListMessages(notes.ListMessagesRequest(), metadata=shop.sender)
    assert [list(each.counts.interactions) for each in page.messages] == [counted]
    results = await live.notifier.ListResults(notes.ListResultsRequest(message_id=message_id), metadata=shop.sender)
    assert {each.device_id: list(each.interactions) for each in results.results} == {
        "phone": [SEEN, OPENED],
        "tablet": [SEEN, DISMISSED],
    }
    assert await streamed() == before


async def test_nothing_is_reported_of_what_another_device_got(live: Live, shop: Shop, secret: str) -> None:
    await subscribe(live, shop, "news", device_id="phone")
    message_id, _ = await sent(live, shop, send("news"))
    for device_id, message, reason in (
        ("tablet", message_id, "MESSAGE_NOT_FOUND"),
        ("phone", "none", "MESSAGE_NOT_FOUND"),
        ("none", message_id, "DEVICE_NOT_FOUND"),
    ):
        request = reg.ReportInteractionRequest(message_id=message, device_id=device_id, interaction=SEEN)
        refused = await refusal(live.registry.ReportInteraction(request, metadata=shop.client))
        assert told(refused)[:2] == (NOT_FOUND, reason)


async def test_a_push_is_reported_before_its_result(live: Live, shop: Shop, secret: str) -> None:
    await subscribe(live, shop, "news", device_id="phone")
    live.provider.answers.clear()
    stream = live.notifier.Send(send("news", message_id="m1"), metadata=shop.sender)
    events = aiter(stream)
    assert (await anext(events)).event.HasField("accepted")
    while not live.provider.chunks:
        await live.notifier.GetMessage(notes.GetMessageRequest(message_id="m1"), metadata=shop.sender)
    request = reg.ReportInteractionRequest(message_id="m1", device_id="phone", interaction=SEEN)
    await live.registry.ReportInteraction(request, metadata=shop.client)
    live.provider.answers.set()
    assert [each.event.WhichOneof("event") async for each in events][-1] == "summary"
    results = await live.notifier.ListResults(notes.ListResultsRequest(message_id="m1"), metadata=shop.sender)
    assert [list(each.interactions) for each in results.results] == [[SEEN]]
