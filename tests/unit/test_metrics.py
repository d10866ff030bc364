"""What is counted, and that labels stay a closed list."""

import asyncio
import urllib.request

import pytest

from bellhop_server.domain.application import Breaker
from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Outcome, Result
from bellhop_server.ports import Work
from bellhop_server.queue.local import LocalQueue
from bellhop_server.rpc.metrics import MeasuredQueue, Metrics, MetricsServer


def result(outcome: Outcome, platform: int = 1) -> Result:
    return Result("d1", "anna", platform, outcome, "", 0, "", 1, 1, 0)


async def test_results_are_counted_once_they_are_committed() -> None:
    metrics = Metrics()
    queue = MeasuredQueue(LocalQueue(), metrics)
    subscription = queue.subscribe(7)
    results = [result(Outcome.ACCEPTED), result(Outcome.ACCEPTED), result(Outcome.NOT_REGISTERED, 0)]
    queue.announce_results(Recorded(message_ref=7, first_seq=1, results=results, completed=False))
    assert subscription.recent(0, 10) == results
    value = metrics.registry.get_sample_value
    assert value("bellhop_results_total", {"platform": "apns", "outcome": "accepted"}) == 2
    assert value("bellhop_results_total", {"platform": "none", "outcome": "not_registered"}) == 1


async def test_work_is_passed_on() -> None:
    queue = MeasuredQueue(LocalQueue(), Metrics())
    listener = queue.listen(Work.PLAN)
    queue.announce_work(Work.PLAN)
    assert await listener.wait(5)


def test_labels_name_no_tenant() -> None:
    labels = {label for metric in Metrics().registry._collector_to_names for label in metric._labelnames}
    assert labels == {"method", "code", "platform", "outcome"}


async def test_what_is_left_alone_is_counted_again_and_again() -> None:
    breaker = Breaker("apns", Platform.APNS, "InternalServerError", 1)
    left_alone: list[list[Breaker]] = [[], [breaker, breaker]]

    class Provider:
        def breakers(self) -> list[Breaker]:
            return left_alone.pop()

    class Clock:
        async def sleep(self, seconds: float) -> None:
            told.append(metrics.registry.get_sample_value("bellhop_breakers_open", {"platform": "web_push"}))
            if not left_alone:
                raise asyncio.CancelledError

    metrics, told = Metrics(), []
    with pytest.raises(asyncio.CancelledError):
        await metrics.watch_breakers({Platform.WEB_PUSH: Provider()}, Clock())
    assert told == [2, 0]


def test_they_are_served_over_http_and_the_port_is_free_afterwards() -> None:
    metrics = Metrics()
    metrics.messages.inc()
    with MetricsServer(metrics, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url) as answer:
            assert b"bellhop_messages_accepted_total 1.0" in answer.read()
        with pytest.raises(OSError, match="in use"):
            MetricsServer(metrics, "127.0.0.1", server.port)
    with MetricsServer(metrics, "127.0.0.1", server.port):
        pass
