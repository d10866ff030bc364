"""The pool in a storm of GOAWAY: every request is processed once, and ends once."""

import random
import threading

import pytest

from bellhop_server.providers import backlog
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import REFUSED_STREAM, FailureKind, Reply
from tests.raw_http2_server import (
    MAX_CONCURRENT,
    Peer,
    RawServer,
    Request,
    goaway,
    reply,
    reset,
    settings,
    window_update,
)
from tests.request_batch import RecordingBatch, World


class Storm:
    """A server that goes away, refuses and changes its limit at random, and notes what it has processed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.processed: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        with self._lock:
            rng = random.Random(self._random.random())
        peer.send(settings({MAX_CONCURRENT: rng.choice([1, 10, 1000])}), window_update(0, 1 << 24))
        budget = rng.randrange(1, 400)
        done: list[bytes] = []
        last = 0
        while budget > 0 and (request := peer.request()) is not None:
            last = request.stream
            peer.send(*self._answer(rng, request, done))
            budget -= 1
        self._note(done)
        if budget:
            return
        if rng.random() < 0.3:
            peer.send(goaway(2**31 - 1))
        peer.send(goaway(last))
        peer.delivered()
        if rng.random() < 0.5:
            peer.wait_end()

    def _answer(self, rng: random.Random, request: Request, done: list[bytes]) -> list[bytes]:
        chance = rng.random()
        churn = [settings({MAX_CONCURRENT: rng.choice([1, 2, 50, 1000])})] if rng.random() < 0.02 else []
        if chance < 0.01:
            return [*churn, reset(request.stream, REFUSED_STREAM)]
        done.append(request.headers[b":path"])
        if chance < 0.1:
            return [reply(request.stream, 410, body=b'{"reason":"Unregistered"}'), *churn]
        return [reply(request.stream), *churn]

    def _note(self, done: list[bytes]) -> None:
        with self._lock:
            self.processed += done


@pytest.mark.parametrize("seed", range(2))
def test_every_request_is_processed_once_whatever_goes_away(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is answered was processed once; what is not sent, after many tries, never was; nothing is in doubt."""
    monkeypatch.setattr(backlog, "_FIRST_PAUSE", 0.001)
    storm = Storm(seed)
    total = 2000 if world.engine == "ngh2" else 800
    ends: list[Reply | Failure] = []
    with RawServer(world.authority.server_context(), storm) as server:

        async def main() -> None:
            pool = world.pool(server.port, connections=3, backoff_first=0.001)
            batches = [RecordingBatch(100, first=first) for first in range(0, total, 100)]
            for batch in batches:
                pool.send(batch)
            for batch in batches:
                await batch.finished()
                ends.extend(result for (result,) in batch.results)
            await pool.aclose()

        world.run(main)
    answered = {b"/%d" % index for index, end in enumerate(ends) if isinstance(end, Reply)}
    assert {end.kind for end in ends if isinstance(end, Failure)} <= {FailureKind.NOT_SENT}
    assert len(answered) > total * 0.9
    assert len(storm.processed) == len(answered)
    assert set(storm.processed) == answered
