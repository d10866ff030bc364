"""The Web Push adapter against a push service that decrypts: what it sends, and what it makes of each answer."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bellhop_server.domain import DAY, HOUR, SECOND
from bellhop_server.domain.application import Credential, WebPushCredential, WebPushOffer
from bellhop_server.domain.delivery import Answer, Delivery, ProviderRequest, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest, KeyChangeRefused
from bellhop_server.domain.notification import Notification, Priority, WebPushOverride
from bellhop_server.providers.addresses import Addresses
from bellhop_server.providers.webpush import vapid
from bellhop_server.providers.webpush.line import MOST_REFUSALS
from tests.apns_desk import verdicts
from tests.webpush_desk import SUBJECT, Desk, webpush_desk

PERSONAS = ("mozilla", "fcm", "apple", "wns")


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with webpush_desk(request.param) as desk:
        yield desk


@pytest.mark.parametrize("persona", PERSONAS)
async def test_browsers_read_what_was_sent(desk: Desk, persona: str) -> None:
    browsers = desk.browsers(3, persona)
    notification = Notification(title="Grüße", body="aus Wien", collapse_key="order 17", data={"order": "17"})

    answers = await desk.send(desk.chunk(browsers, notification=notification, priority=Priority.HIGH))

    assert verdicts(answers) == {Verdict.ACCEPTED: 3}
    assert all(answer.status == 201 and answer.provider_message_id for answer in answers)
    for browser in browsers:
        (message,) = browser.messages
        assert message.json()["title"] == "Grüße"
        assert message.json()["options"] == {"body": "aus Wien", "tag": "order 17", "data": {"order": "17"}}
        assert message.urgency == "high"
        assert HOUR // SECOND - 5 <= message.ttl <= HOUR // SECOND


@pytest.mark.parametrize("persona", PERSONAS)
async def test_now_or_never_and_the_longest_time(desk: Desk, persona: str) -> None:
    now, long = desk.browsers(2, persona)
    assert verdicts(await desk.send(desk.chunk([now], now_or_never=True))) == {Verdict.ACCEPTED: 1}
    chunk = desk.chunk([long])
    far = [each._replace(expire_time=desk.clock.now() + 400 * DAY) for each in chunk.deliveries]
    assert verdicts(await desk.send(replace(chunk, deliveries=far))) == {Verdict.ACCEPTED: 1}
    assert now.messages[0].ttl == 0
    assert long.messages[0].ttl == 28 * 86400


async def test_each_subscription_goes_by_its_own_key(desk: Desk) -> None:
    old, new = desk.key, vapid.generate()
    secret = WebPushCredential((new, old), SUBJECT)
    for key in (old, new):
        browsers = desk.browsers(2, key=key)
        answers = await desk.send(desk.chunk(browsers, credential=secret, vapid_public_key=key.public_key))
        assert verdicts(answers) == {Verdict.ACCEPTED: 2}


@pytest.mark.parametrize("persona", PERSONAS)
async def test_whoever_is_gone_is_gone_for_good(desk: Desk, persona: str) -> None:
    gone, expired, there = desk.browsers(3, persona)
    gone.unsubscribe()
    expired.expire()
    answers = await desk.send(desk.chunk([gone, expired, there]))
    assert [answer.verdict for answer in answers] == [
        Verdict.TOKEN_GONE_SINCE,
        Verdict.TOKEN_GONE_SINCE,
        Verdict.ACCEPTED,
    ]
    assert all(answer.invalid_since == 0 for answer in answers)


@pytest.mark.parametrize("persona", ["fcm", "apple"])
async def test_another_applications_subscription_is_a_mismatch(desk: Desk, persona: str) -> None:
    (foreign,) = desk.browsers(1, persona, key=vapid.generate())
    (mine,) = desk.browsers(1, persona)
    answers = await desk.send(desk.chunk([mine, foreign]))
    assert [answer.verdict for answer in answers] == [Verdict.ACCEPTED, Verdict.TOKEN_MISMATCH]
    assert desk.provider.breakers() == []


async def test_a_refused_key_is_doubted_only_where_it_is_good_elsewhere(desk: Desk) -> None:
    browsers = desk.browsers(2)
    desk.push.faults.add({"status": 403}, {"token": browsers[0].endpoint.rpartition("/")[2]}, name="refused")
    first = await desk.send(desk.chunk([browsers[0]]))
    # Nobody knows whose fault it is, but one refusal stops nobody else.
    assert first[0].verdict is Verdict.CREDENTIALS_INVALID
    assert (await desk.send(desk.chunk([browsers[1]])))[0].verdict is Verdict.ACCEPTED
    assert (await desk.send(desk.chunk([browsers[0]])))[0].verdict is Verdict.TOKEN_DOUBTED
    assert desk.provider.breakers() == []
    # What was good an hour ago need not be so now.
    desk.clock.advance(3601)
    assert (await desk.send(desk.chunk([browsers[0]])))[0].verdict is Verdict.CREDENTIALS_INVALID


async def test_a_key_that_is_refused_by_all_is_left_alone_at_that_host(desk: Desk) -> None:
    desk.push.faults.add({"status": 401})
    answers = await desk.send(desk.chunk(desk.browsers(100)))
    assert verdicts(answers) == {Verdict.CREDENTIALS_INVALID: 100}
    seen = desk.push.journal.total
    assert seen >= MOST_REFUSALS
    assert verdicts(await desk.send(desk.chunk(desk.browsers(10)))) == {Verdict.CREDENTIALS_INVALID: 10}
    assert desk.push.journal.total == seen
    (breaker,) = desk.provider.breakers("shop")
    assert (breaker.credential_id, breaker.platform) == ("web-push", Platform.WEB_PUSH)
    # A new version of the credential is believed at once.
    desk.push.faults.clear()
    assert verdicts(await desk.send(desk.chunk(desk.browsers(3), credential_version=2))) == {Verdict.ACCEPTED: 3}


@pytest.mark.parametrize(("status", "persona"), [(429, "mozilla"), (406, "wns")])
async def test_a_host_that_throttles_is_spared_as_long_as_it_says(desk: Desk, status: int, persona: str) -> None:
    desk.push.faults.add({"status": status, "retry_after": 90}, times=1)
    (first,) = await desk.send(desk.chunk(desk.browsers(1, persona)))
    assert (first.verdict, first.retry_after) == (Verdict.THROTTLED_SENDER, 90.0)
    later = await desk.send(desk.chunk(desk.browsers(5, persona)))
    assert verdicts(later) == {Verdict.NOT_SENT: 5}
    assert all(80 < (answer.retry_after or 0) <= 90 for answer in later)
    desk.clock.advance(91)
    assert verdicts(await desk.send(desk.chunk(desk.browsers(5, persona)))) == {Verdict.ACCEPTED: 5}


async def test_a_redirect_is_not_followed(desk: Desk) -> None:
    desk.push.faults.add({"status": 302, "headers": {"location": "http://169.254.169.254/latest/meta-data"}})
    (answer,) = await desk.send(desk.chunk(desk.browsers()))
    assert (answer.verdict, answer.status) == (Verdict.ENDPOINT_BLOCKED, 302)


async def test_a_host_that_nobody_named_is_never_asked(desk: Desk) -> None:
    chunk = desk.chunk(desk.browsers(2))
    strange = chunk.deliveries[0]._replace(address="https://169.254.169.254/push/1")
    answers = await desk.send(replace(chunk, deliveries=[strange, chunk.deliveries[1]]))
    assert [answer.verdict for answer in answers] == [Verdict.ENDPOINT_BLOCKED, Verdict.ACCEPTED]
    assert answers[0].reason == "HostNotAllowed"


def _resolver(*addresses: str) -> Addresses:
    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    return Addresses(getaddrinfo=getaddrinfo)


async def test_a_name_with_one_private_address_is_blocked_at_once() -> None:
    async with webpush_desk(hosts="*", addresses=_resolver("93.184.216.34", "127.0.0.1")) as desk:
        browser = desk.browsers()[0]
        target = Target(Platform.WEB_PUSH, "https://push.stranger.org/x", supplement=f"{browser.p256dh}.{browser.auth}")
        (violation,) = await desk.provider.check_target(target)
        assert violation.field == "web_push.endpoint"
        # It led elsewhere when it was registered: each connection is judged anew.
        chunk = desk.chunk([browser], seconds=5)
        deliveries = [Delivery(target.address, target.supplement, "", chunk.deliveries[0].expire_time)]
        begin = desk.clock.monotonic()
        (answer,) = await desk.send(replace(chunk, deliveries=deliveries))
        assert (answer.verdict, answer.reason) == (Verdict.ENDPOINT_BLOCKED, "AddressBlocked")
        assert desk.clock.monotonic() - begin < 2


async def test_too_much_is_not_sent(desk: Desk) -> None:
    fits = Notification(web_push=WebPushOverride(raw_payload="x" * 3993))
    assert verdicts(await desk.send(desk.chunk(desk.browsers(), notification=fits))) == {Verdict.ACCEPTED: 1}
    large = Notification(title="x" * 4000)
    assert verdicts(await desk.send(desk.chunk(desk.browsers(), notification=large))) == {Verdict.PAYLOAD_TOO_LARGE: 1}
    assert desk.push.journal.total == 1


async def test_no_answer_is_unknown_and_no_connection_not_sent() -> None:
    async with webpush_desk(limits={"answer": 0.2, "confirm": 0.05}) as desk:
        desk.push.faults.add({"no_answer": True}, times=1)
        assert verdicts(await desk.send(desk.chunk(desk.browsers()))) == {Verdict.UNKNOWN: 1}
    async with webpush_desk(hosts="localhost:1") as desk:
        chunk = desk.chunk(desk.browsers(), seconds=0.3)
        deliveries = [each._replace(address="https://localhost:1/x") for each in chunk.deliveries]
        (answer,) = await desk.send(replace(chunk, deliveries=deliveries))
        assert (answer.verdict, answer.reason) == (Verdict.NOT_SENT, "ConnectionRefused")


async def test_after_the_end_nothing_is_sent(desk: Desk) -> None:
    await desk.provider.aclose()
    assert verdicts(await desk.send(desk.chunk(desk.browsers(2)))) == {Verdict.NOT_SENT: 2}
    assert desk.push.journal.total == 0


async def test_what_would_be_sent_is_told_without_what_is_secret(desk: Desk) -> None:
    browser = desk.browsers()[0]
    (told,) = desk.provider.explain(desk.chunk([browser]))
    assert isinstance(told, ProviderRequest)
    assert json.loads(told.body)["title"] == "Hello"
    assert browser.endpoint.rpartition("/")[2] not in told.url
    assert (told.body_size, told.body_limit) == (len(told.body) + 103, 4096)
    assert told.headers["authorization"] == f"vapid t=…, k={desk.key.public_key}"
    assert "ttl" in told.headers
    (blocked,) = desk.provider.explain(replace(desk.chunk([browser]), deliveries=[Delivery("https://a.b/", "", "", 0)]))
    assert isinstance(blocked, Answer)
    assert blocked.verdict is Verdict.ENDPOINT_BLOCKED
    assert desk.push.journal.total == 0


async def test_targets_are_looked_at_before_they_are_kept(desk: Desk) -> None:
    browser = desk.browsers()[0]
    good = Target(Platform.WEB_PUSH, browser.endpoint, supplement=f"{browser.p256dh}.{browser.auth}")
    assert await desk.provider.check_target(good) == []
    off_curve = "B" + "A" * 86
    bad = replace(good, address="https://user@localhost/", supplement=f"{off_curve}.{browser.auth}")
    assert {each.field for each in await desk.provider.check_target(bad)} == {"web_push.endpoint", "web_push.p256dh"}


async def test_keys_are_made_kept_and_never_changed_silently(desk: Desk) -> None:
    accept = desk.provider.accept
    first = accept(WebPushOffer("", SUBJECT), None)
    assert isinstance(first, WebPushCredential)
    assert accept(WebPushOffer("", SUBJECT), first) == first
    other = vapid.generate()
    with pytest.raises(KeyChangeRefused):
        accept(WebPushOffer(other.private_key, SUBJECT), first)
    changed = accept(WebPushOffer(other.private_key, SUBJECT, allow_key_change=True), first)
    assert isinstance(changed, WebPushCredential)
    assert [key.public_key for key in changed.keys] == [other.public_key, first.keys[0].public_key]
    # Back again: no key is there twice.
    back = accept(WebPushOffer(first.keys[0].private_key, SUBJECT, allow_key_change=True), changed)
    assert isinstance(back, WebPushCredential)
    assert [key.public_key for key in back.keys] == [first.keys[0].public_key, other.public_key]
    with pytest.raises(InvalidRequest) as refused:
        accept(WebPushOffer("no key", "mailto:a@localhost"), None)
    assert {each.field for each in refused.value.violations} == {"web_push.subject", "web_push.vapid_private_key"}
    probe = await desk.provider.probe(Credential("shop", "web-push", Platform.WEB_PUSH, 1, 0, changed))
    assert probe.ok
