"""How many streams the simulated APNs lets a connection open, and what becomes of one too many."""

from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import HeadersFrame, RstStreamFrame

from bellhop_simulators import ApnsSimulator, ConcurrencyPolicy
from tests.unit.apns_wire import WireClient

REFUSED_STREAM = 7


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator() as simulator:
        yield simulator


async def test_one_stream_until_a_request_was_authenticated(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        assert client.limit == 1
        await client.push(authorization=None)
        await client.round_trip()
        assert client.limit == 1
        await client.push()
        await client.round_trip()
        assert client.limit == 1000


async def test_a_refused_request_raises_the_limit_if_it_was_authenticated(apns: ApnsSimulator) -> None:
    apns.devices.unregister("ab" * 32)
    async with await WireClient.connect(apns) as client:
        assert (await client.push()).status == 410
        await client.round_trip()
        assert client.limit == 1000


async def test_the_second_stream_of_a_hasty_client_is_refused(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns, greet=False) as client:
        apns.faults.add({"delay": 0.05}, times=1)
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
        first, second = client.send(), client.send()
        assert (await client.answer(second)).reset == REFUSED_STREAM
        assert (await client.answer(first)).status == 200

    refused, taken = sorted(apns.journal.entries, key=lambda entry: entry.accepted)
    assert (refused.stream, refused.status, refused.reason, refused.body) == (second, None, "REFUSED_STREAM", None)
    assert refused.token == taken.token


def send_at_once(client: WireClient, count: int, before: bytes = b"") -> list[int]:
    """So many requests in one write, and so in one read."""
    pieces, write = [before], client.write
    client.write = pieces.append
    streams = [client.send() for _ in range(count)]
    client.write = write
    write(b"".join(pieces))
    return streams


async def test_a_burst_before_the_settings_were_read_is_refused_but_for_the_first(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns, greet=False) as client:
        streams = send_at_once(client, 5, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
        answers = [await client.answer(stream) for stream in streams]
    assert [(answer.status, answer.reset) for answer in answers] == [(200, None)] + [(None, REFUSED_STREAM)] * 4


async def test_a_raised_limit_counts_when_the_client_has_acknowledged_it(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        client.auto_acknowledge = False
        await client.push()
        await client.round_trip()
        assert client.limit == 1000
        answers = [await client.answer(stream) for stream in send_at_once(client, 3)]
        assert [answer.reset for answer in answers] == [None, REFUSED_STREAM, REFUSED_STREAM]

        client.acknowledge()
        answers = [await client.answer(stream) for stream in send_at_once(client, 20)]
        assert {answer.status for answer in answers} == {200}


async def test_streams_that_the_client_takes_back_at_once_leave_room(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        lost = client.open()
        head = HeadersFrame(lost, client.encoder.encode(client.head()), flags=["END_HEADERS"]).serialize()
        (stream,) = send_at_once(client, 1, head + RstStreamFrame(lost, 8).serialize())
        assert (await client.answer(stream)).status == 200


async def test_one_stream_too_many_may_cost_the_connection() -> None:
    async with ApnsSimulator(concurrency=ConcurrencyPolicy(first=2, enforcement="goaway")) as apns:
        apns.faults.add({"delay": 0.05})
        async with await WireClient.connect(apns) as client:
            streams = [client.send() for _ in range(4)]
            assert await client.ended() == "closed"

    assert [client.replies[stream].status for stream in streams] == [200, 200, None, None]
    goaway = client.goaways[0]
    assert (goaway.last_stream_id, goaway.error_code) == (streams[1], REFUSED_STREAM)
    assert goaway.additional_data == b"Maximum active streams violated"
    assert apns.journal.by_reason == {"REFUSED_STREAM": 1, "GOAWAY": 1}


async def test_a_rejection_lowers_the_limit_until_the_next_success(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        for head, limit in (({}, 1000), ({"token": "zz"}, 1), ({"path": "/"}, 1), ({}, 1000), ({"jwt": "x"}, 1)):
            await client.push(**head)
            await client.round_trip()
            assert client.limit == limit, head


async def test_lowering_can_be_switched_off() -> None:
    async with (
        ApnsSimulator(concurrency=ConcurrencyPolicy(authenticated=20, drop_after_rejection=False)) as apns,
        await WireClient.connect(apns) as client,
    ):
        for head in ({}, {"token": "zz"}):
            await client.push(**head)
            await client.round_trip()
            assert client.limit == 20


async def test_a_lower_limit_counts_when_the_client_has_acknowledged_it(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        await client.push()
        await client.round_trip()
        client.auto_acknowledge = False
        await client.push(token="zz")
        await client.round_trip()
        assert client.limit == 1
        apns.faults.add({"delay": 0.05, "status": 410})
        unaware = [client.send() for _ in range(3)]
        for stream in unaware:
            assert (await client.answer(stream)).status == 410

        client.acknowledge()
        aware = [client.send() for _ in range(3)]
        assert [(await client.answer(stream)).reset for stream in aware] == [None, REFUSED_STREAM, REFUSED_STREAM]


async def test_open_streams_survive_a_lower_limit(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        await client.push()
        await client.round_trip()
        apns.faults.add({"delay": 0.05}, times=5)
        slow = [client.send() for _ in range(5)]
        bad = client.send(token="zz")
        await client.answer(bad)
        await client.round_trip()
        assert client.limit == 1
        assert [(await client.answer(stream)).status for stream in slow] == [200] * 5


async def test_a_stream_that_the_client_resets_counts_no_more(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        apns.faults.add({"no_answer": True}, times=1)
        lost = client.send()
        client.write(bytes.fromhex("00000403 00") + lost.to_bytes(4, "big") + (8).to_bytes(4, "big"))
        assert (await client.push()).status == 200


async def test_a_thousand_at_once(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns) as client:
        await client.push()
        await client.round_trip()
        streams = [client.send() for _ in range(1000)]
        assert {(await client.answer(stream)).status for stream in streams} == {200}
    assert apns.journal.accepted == 1001
