"""Numbers for Prometheus. Labels are closed lists: method, status code, network, outcome."""

import threading
from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Outcome
from bellhop_server.ports import Clock, Gathering, Listener, Provider, Queue, Subscription, Work

_KIND = attrgetter("platform", "outcome")
_LOOK_EVERY = 1.0
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "bellhop_calls", "Calls that ended, by method and gRPC status.", ["method", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "bellhop_call_seconds",
            "Duration of calls that are not streams.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("bellhop_streams_open", "Streams that are open.", ["method"], registry=self.registry)
        self.messages = Counter("bellhop_messages_accepted", "Messages committed.", registry=self.registry)
        self.results = Counter(
            "bellhop_results", "Final results, by network and outcome.", ["platform", "outcome"], registry=self.registry
        )
        self.breakers = Gauge(
            "bellhop_breakers_open",
            "Credentials, and with Web Push services, that are left alone for now.",
            ["platform"],
            registry=self.registry,
        )

    async def watch_breakers(self, providers: Mapping[Platform, Provider], clock: Clock) -> None:
        """Counts what is left alone, again and again: the thread that serves the numbers must not ask providers."""
        while True:
            for platform, provider in providers.items():
                self.breakers.labels(platform.name.lower()).set(len(provider.breakers()))
            await clock.sleep(_LOOK_EVERY)


class MeasuredQueue(Queue):
    """Counts final results on their way: everything that is committed is announced."""

    def __init__(self, inner: Queue, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics
        self._counts: dict[tuple[int, int], Counter] = {}

    def announce_work(self, work: Work) -> None:
        self._inner.announce_work(work)

    def listen(self, work: Work) -> Listener:
        return self._inner.listen(work)

    def announce_results(self, recorded: Recorded) -> None:
        self._inner.announce_results(recorded)
        # In runs: most results are like the one before.
        for (platform, outcome), run in groupby(recorded.results, key=_KIND):
            self._count(platform, outcome).inc(sum(1 for _ in run))

    def _count(self, platform: int, outcome: int) -> Counter:
        # Finding it by its labels costs more than all else here.
        count = self._counts.get((platform, outcome))
        if count is None:
            name = Platform(platform).name.lower() if platform else "none"
            count = self._metrics.results.labels(name, Outcome(outcome).name.lower())
            self._counts[platform, outcome] = count
        return count

    def subscribe(self, ref: int) -> Subscription:
        return self._inner.subscribe(ref)

    def gather(self) -> Gathering:
        return self._inner.gather()


class MetricsServer:
    """Serves the numbers over HTTP, from a thread of its own."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Raises OSError when the address cannot be listened on."""
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, host, metrics.registry)
        self.port: int = self._server.server_port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
