"""The Web Push adapter's ways to push services: strangers name these, so their number is bounded; and a service may
speak no more than HTTP/1.1.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.notification import Notification, WebPushOverride
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.webpush import adapter
from tests.apns_desk import verdicts
from tests.webpush_desk import Desk, webpush_desk

# Two names of one push service are two origins.
NAMES = ("127.0.0.1", "localhost")


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with webpush_desk(hosts="127.0.0.1:{port}, localhost:{port}") as desk:
        yield desk


async def send(desk: Desk, *names: str) -> list[Answer]:
    """One chunk, to a new browser at each of these names."""
    chunk = desk.chunk(desk.browsers(len(names)))
    deliveries = [
        each._replace(address=each.address.replace("127.0.0.1", name))
        for each, name in zip(chunk.deliveries, names, strict=True)
    ]
    answers: dict[int, Answer] = {}
    async with asyncio.timeout(10):
        await desk.provider.send(replace(chunk, deliveries=deliveries), answers.__setitem__, lambda index: None)
    return [answers[index] for index in range(len(names))]


def called(desk: Desk) -> Counter[str]:
    """How often the push service was called by each name."""
    authorities = (dict(entry.header_list)[":authority"] for entry in desk.push.journal.entries)
    return Counter(authority.rpartition(":")[0] for authority in authorities)


async def test_one_chunk_to_several_push_services(desk: Desk) -> None:
    answers = await send(desk, *NAMES, *NAMES)

    assert verdicts(answers) == {Verdict.ACCEPTED: 4}
    assert called(desk) == {"127.0.0.1": 2, "localhost": 2}
    assert len(desk.push.connections.open) == 2


async def test_beyond_the_bound_the_way_used_longest_ago_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MOST_LINES", 1)

    for name in (*NAMES, *NAMES):
        assert verdicts(await send(desk, name)) == {Verdict.ACCEPTED: 1}
        assert list(desk.provider._lines) == [desk.push.url.replace("127.0.0.1", name)]

    assert called(desk) == {"127.0.0.1": 2, "localhost": 2}


async def test_a_way_in_use_is_not_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MOST_LINES", 1)
    desk.push.faults.add({"delay": 0.3}, times=1)
    first = asyncio.create_task(send(desk, NAMES[0]))
    async with asyncio.timeout(5):
        while not any(line.pool.busy for line in desk.provider._lines.values()):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)

    (second,) = await send(desk, NAMES[1])

    assert (second.verdict, second.reason) == (Verdict.NOT_SENT, "NoCapacity")
    assert verdicts(await first) == {Verdict.ACCEPTED: 1}
    assert verdicts(await send(desk, NAMES[1])) == {Verdict.ACCEPTED: 1}


async def test_a_chunk_to_more_push_services_than_there_may_be_is_answered_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MOST_LINES", 1)

    answers = await send(desk, *NAMES)

    assert {answer.verdict for answer in answers} <= {Verdict.ACCEPTED, Verdict.NOT_SENT}
    assert Verdict.ACCEPTED in verdicts(answers)


async def test_what_is_known_of_a_key_outlives_a_quiet_half_hour(desk: Desk) -> None:
    assert verdicts(await send(desk, NAMES[0])) == {Verdict.ACCEPTED: 1}
    desk.clock.advance(1800)
    # Another way is opened, which is when idle ones are given up.
    assert verdicts(await send(desk, NAMES[1])) == {Verdict.ACCEPTED: 1}
    desk.push.faults.add({"status": 403}, times=1)

    assert verdicts(await send(desk, NAMES[0])) == {Verdict.TOKEN_DOUBTED: 1}


async def test_a_way_that_nobody_uses_is_given_up(desk: Desk) -> None:
    await send(desk, NAMES[0])
    desk.clock.advance(3601)

    await send(desk, NAMES[1])

    assert list(desk.provider._lines) == [desk.push.url.replace("127.0.0.1", NAMES[1])]


async def test_a_replaced_credential_leaves_the_way_to_the_others(desk: Desk) -> None:
    other = replace(desk.chunk(desk.browsers(2)), app_id="other")
    await send(desk, NAMES[0])

    desk.provider.forget("shop", "web-push")

    answers = await desk.send(other)
    assert verdicts(answers) == {Verdict.ACCEPTED: 2}
    assert len(desk.push.connections.records) == 1


def only_http1(ca_file: Path | None = None, *, http1: bool = False) -> ssl.SSLContext:
    context = client_context(ca_file, http1=http1)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def test_http1_does_where_there_is_no_http2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "client_context", only_http1)
    async with webpush_desk() as desk:
        browsers = desk.browsers(20)
        browsers[3].unsubscribe()
        raw = Notification(web_push=WebPushOverride(raw_payload="x" * 3993))

        answers = await desk.send(desk.chunk(browsers, notification=raw))

        assert verdicts(answers) == {Verdict.ACCEPTED: 19, Verdict.TOKEN_GONE_SINCE: 1}
        assert answers[3].status == 410
        assert {entry.http for entry in desk.push.journal.entries} == {"HTTP/1.1"}
        assert all(browser.messages[0].text == "x" * 3993 for browser in browsers if browser.messages)
        assert len(desk.push.connections.records) <= 2


async def test_faults_over_http1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "client_context", only_http1)
    async with webpush_desk() as desk:
        assert verdicts(await desk.send(desk.chunk(desk.browsers()))) == {Verdict.ACCEPTED: 1}
        desk.push.faults.add({"connection": "reset"}, {"request": 2})
        desk.push.faults.add({"status": 302, "headers": {"location": "https://169.254.169.254/"}}, {"request": 1})

        answers = await desk.send(desk.chunk(desk.browsers(6)))

        assert verdicts(answers) == {Verdict.ACCEPTED: 4, Verdict.UNKNOWN: 1, Verdict.ENDPOINT_BLOCKED: 1}
