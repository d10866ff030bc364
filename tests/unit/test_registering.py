"""What becomes of a logout everywhere whose caller has gone (P5)."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from bellhop_server.app.fencing import Fence
from bellhop_server.app.proving import Proving
from bellhop_server.app.registering import Registering
from bellhop_server.app.targets import Targets
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from tests.sealing import PlainSealer
from tests.unit.app_fakes import NOW, FakeClock

pytestmark = pytest.mark.promise("P5")

CHUNKS = 4


class Chunks:
    """A store that takes a user's devices out two at a time. What comes after the first waits for `go`."""

    def __init__(self) -> None:
        self.done = 0
        self.go = asyncio.Event()
        self.first = asyncio.Event()
        self.last = asyncio.Event()
        self.broken = False

    async def execute(self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None]) -> RegistryAnswer:
        if self.done:
            await self.go.wait()
            if self.broken:
                self.last.set()
                raise ServiceUnavailable("store")
        self.done += 1
        answer = RegistryAnswer(removed=2, more=self.done < CHUNKS)
        committed(answer)
        self.first.set()
        if not answer.more:
            self.last.set()
        # The answer is on its way when the caller may go.
        await asyncio.sleep(0)
        return answer


@pytest.fixture
def store() -> Chunks:
    return Chunks()


@pytest.fixture
def registering(store: Chunks) -> Registering:
    clock = FakeClock()
    return Registering(
        store, clock, Fence(nullcontext), Targets(store, clock, {}), Proving(store, clock, {}), PlainSealer()
    )


async def test_all_chunks_count(registering: Registering, store: Chunks) -> None:
    store.go.set()
    assert await registering.unregister_user("shop", "anna", NOW) == 2 * CHUNKS


@pytest.mark.parametrize("turns", [0, 3], ids=["while the first is answered", "while it waits for the second"])
async def test_what_has_begun_is_finished_though_the_caller_has_gone(
    registering: Registering, store: Chunks, turns: int
) -> None:
    call = asyncio.create_task(registering.unregister_user("shop", "anna", NOW))
    await store.first.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert store.done == 1

    store.go.set()
    async with asyncio.timeout(5):
        await store.last.wait()
    assert store.done == CHUNKS


async def test_what_cannot_be_finished_is_told(
    registering: Registering, store: Chunks, caplog: pytest.LogCaptureFixture
) -> None:
    store.broken = True
    store.go.set()
    with pytest.raises(ServiceUnavailable):
        await registering.unregister_user("shop", "anna", NOW)
    for _ in range(3):
        await asyncio.sleep(0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
