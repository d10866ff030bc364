"""How streams of SendMany end before they are through: the server's end, a reader who takes nothing, SIGKILL."""

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import pytest

from bellhop.v1 import message_pb2, notifier_pb2_grpc
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1.device_pb2 import ApnsTarget
from bellhop_server.rpc.admission import Limits
from bellhop_server.settings import Address
from bellhop_simulators import ApnsSimulator
from tests.system.killable import killable
from tests.system.live_server import Shop, counted, live_server, settings_in, told
from tests.system.many import Many, item, register, sent

# A reader over such a channel holds up the writer after a few kilobytes.
NARROW = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
INTERRUPTED = (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED")
WHOLE = ["accepted", "results", "summary"]
PEOPLE = 600


@pytest.mark.promise("P10")
async def test_streams_end_before_the_server_does_and_repeats_go_on_at_the_next_one(tmp_path: Path) -> None:
    """One that has items open, one that has none, and one whose reader takes nothing."""
    settings = settings_in(tmp_path)
    items = [item(f"r{number}") for number in range(40)]
    gone = [f"{number:04}{'x' * 500}" for number in range(100)]
    async with live_server(settings) as live, grpc.aio.insecure_channel(live.server.address, options=NARROW) as narrow:
        shop = await live.shop()
        await register(live, shop)
        live.provider.answers.clear()
        busy, idle = Many(live.notifier, shop), Many(live.notifier, shop)
        slow = Many(notifier_pb2_grpc.NotifierStub(narrow), shop)
        await busy.write(items)
        await busy.read_until("r39", "accepted")
        await idle.write([item("done", "nobody")])
        await idle.read_until("done", "summary")
        await slow.write([item(f"s{number}", *gone) for number in range(40)])
        assert await slow.read()
        stopping = asyncio.create_task(live.stop())
        ends = [told(await many.error())[:2] for many in (busy, idle, slow)]
        live.provider.answers.set()
        await stopping

    assert ends == [INTERRUPTED] * 3
    assert not any("summary" in busy.kinds(each.request_id) for each in items)
    async with live_server(settings) as live:
        again = await sent(live.notifier, shop, *items)
        repeated = await sent(live.notifier, shop, *(item(f"s{number}", *gone) for number in range(40)))
    for each in items:
        assert again.kinds(each.request_id)[-1] == "summary"
        assert again.events(each.request_id)[0].accepted.replayed
    for number in range(40):
        name = f"s{number}"
        assert repeated.kinds(name) == WHOLE
        told_of = [result.user_id for event in repeated.events(name) for result in event.results.results]
        assert sorted(told_of) == gone


@pytest.mark.promise("P10")
async def test_a_reader_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, metrics_listen=Address("127.0.0.1", 0))
    gone = [f"{number:04}{'x' * 500}" for number in range(100)]
    items = [item(f"r{number}", *gone) for number in range(60)]
    async with live_server(settings, limits=Limits(reader_seconds=0.2), options=NARROW) as live:
        shop = await live.shop()
        many = Many(live.notifier, shop)
        await many.write(items)
        assert await many.read()
        await counted(live, 'bellhop_calls_total{code="UNAVAILABLE",method="/bellhop.v1.Notifier/SendMany"} 1.0')
        assert told(await many.error())[:2] == INTERRUPTED
        await counted(live, 'bellhop_streams_open{method="/bellhop.v1.Notifier/SendMany"} 0.0')
    async with live_server(settings) as live:
        again = await sent(live.notifier, shop, *items)
    assert all(again.kinds(each.request_id) == WHOLE for each in items)


@pytest.mark.promise("P6")
@pytest.mark.promise("P8")
async def test_killed_amid_a_stream_each_device_gets_one_push(tmp_path: Path, database_url: str) -> None:
    """Items of whom nothing had been heard are sent again, and so are those that had been accepted."""
    async with ApnsSimulator() as apns, killable(tmp_path, database_url, apns) as server:
        async with server.client() as client:
            await asyncio.gather(
                *(
                    client.register_device(
                        device_id=f"d{number}", user_id=f"u{number}", apns=ApnsTarget(token=f"{number + 1:064x}")
                    )
                    for number in range(PEOPLE)
                )
            )
        shop = Shop("shop", "", server.app_secret)
        never = message_pb2.SendOptions(resend=message_pb2.RESEND_POLICY_NEVER)
        items = [item(f"r{number}", f"u{number}", options=never) for number in range(PEOPLE)]
        async with grpc.aio.insecure_channel(server.address) as channel:
            cut = Many(notifier_pb2_grpc.NotifierStub(channel), shop)
            writing = asyncio.create_task(write(cut, items))
            while sum("summary" in cut.kinds(each.request_id) for each in items) < PEOPLE // 10:
                assert await cut.read()
            await server.kill()
            assert (await cut.error()).code() is grpc.StatusCode.UNAVAILABLE
            await asyncio.gather(writing, return_exceptions=True)
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            again = Many(notifier_pb2_grpc.NotifierStub(channel), shop)
            await again.write(items[: PEOPLE // 2])
            await again.write(items[PEOPLE // 2 :])
            await again.half_close()
            async with asyncio.timeout(60):
                assert await again.rest() is grpc.StatusCode.OK

    pushed = Counter(entry.token for entry in apns.journal.find(status=200) if int(entry.token, 16))
    assert max(pushed.values()) == 1
    for number, each in enumerate(items):
        name = each.request_id
        # Over a database that others may use too, a lease has to end before what was begun is taken up again.
        assert [kind for kind in again.kinds(name) if kind != "progress"] == WHOLE
        [(device_id, outcome)] = again.results(name)
        assert device_id == f"d{number}"
        if outcome != message_pb2.OUTCOME_UNKNOWN:
            assert outcome == message_pb2.OUTCOME_ACCEPTED
            assert pushed[f"{number + 1:064x}"] == 1
        known = cut.events(name)
        assert again.events(name)[0].accepted.replayed or not known
        if known:
            assert again.events(name)[0].accepted.message_id == known[0].accepted.message_id
        if "summary" in cut.kinds(name):
            assert again.events(name)[1:] == known[1:]


async def write(many: Many, items: list[notes.SendRequest]) -> None:
    """Twenty at a time, as fast as they are taken."""
    for first in range(0, len(items), 20):
        await many.write(items[first : first + 20])
