"""The clients for programs without an event loop: the same methods, which wait, and streams that are plain iterators.

Each method is that of the asynchronous client, arguments and answer alike; there is one body for both. A client may be
used by many threads at once. It does not survive a fork: make it in the worker, after the fork.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from bellhop.v1.event_pb2 import Accepted, SendEvent, Summary, Validated
from bellhop.v1.message_pb2 import Result
from bellhop.v1.notifier_pb2 import SendRequest
from bellhop_client.admin import AdminClient
from bellhop_client.client import Client
from bellhop_client.connection import Connection
from bellhop_client.loop_thread import LoopThread
from bellhop_client.send_many import ManyAnswer
from bellhop_client.stream import SendStream

C = TypeVar("C", bound=Connection)
P = ParamSpec("P")
T = TypeVar("T")


class _Face(Generic[C]):
    """A client and the loop that it lives in."""

    _client: C
    _thread: LoopThread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call and stream of this client. Again, it does nothing."""
        if self._thread.alive:
            self._thread.run(self._client.close())
            self._thread.close()


F = TypeVar("F", bound=_Face[Any])


def _call(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[F, P], T]:
    """The method, waited for."""

    def call(self: F, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        async def wait() -> T:
            return await method(self._client, *arguments, **keywords)

        return self._thread.run(wait())

    call.__name__, call.__doc__, call.__wrapped__ = method.__name__, method.__doc__, method  # type: ignore[attr-defined]  # For `inspect`.
    return call


def _walk(method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> Callable[Concatenate[F, P], Iterator[T]]:
    """The method, its elements one by one."""

    def walk(self: F, /, *arguments: P.args, **keywords: P.kwargs) -> Iterator[T]:
        return self._thread.iterate(method(self._client, *arguments, **keywords))

    walk.__name__, walk.__doc__, walk.__wrapped__ = method.__name__, method.__doc__, method  # type: ignore[attr-defined]  # For `inspect`.
    return walk


class SyncSendStream(Iterator[SendEvent]):
    """`SendStream`, to be iterated once with `for`; a context manager, for whoever hangs up before its end."""

    def __init__(self, thread: LoopThread, stream: SendStream) -> None:
        self._stream = stream
        self._events = thread.iterate(stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SendEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; the message is sent all the same."""
        self._events.close()  # type: ignore[attr-defined]  # It is a generator.

    def results(self) -> list[Result]:
        """See `SendStream.results`."""
        return [result for event in self for result in event.results.results]

    @property
    def request_id(self) -> str:
        """See `SendStream`."""
        return self._stream.request_id

    @property
    def message_id(self) -> str:
        """Empty until the message has been accepted."""
        return self._stream.message_id

    @property
    def cursor(self) -> str:
        """Of the last event that was returned."""
        return self._stream.cursor

    @property
    def accepted(self) -> Accepted | None:
        """None: it has not come."""
        return self._stream.accepted

    @property
    def validated(self) -> Validated | None:
        """None: it has not come."""
        return self._stream.validated

    @property
    def summary(self) -> Summary | None:
        """None: it has not come."""
        return self._stream.summary


def _follow(
    method: Callable[Concatenate[Any, P], SendStream],
) -> "Callable[Concatenate[SyncClient, P], SyncSendStream]":
    """The method, its stream as an iterator."""

    def follow(self: "SyncClient", /, *arguments: P.args, **keywords: P.kwargs) -> SyncSendStream:
        async def open_stream() -> SendStream:
            return method(self._client, *arguments, **keywords)

        return SyncSendStream(self._thread, self._thread.run(open_stream()))

    follow.__name__, follow.__doc__, follow.__wrapped__ = method.__name__, method.__doc__, method  # type: ignore[attr-defined]  # For `inspect`.
    return follow


class SyncClient(_Face[Client]):
    """`Client`, waited for. The arguments are its own."""

    def __init__(self, target: str, **options: Any) -> None:
        """See `Client`. Raises ValueError."""
        self._thread = LoopThread()
        self._client = _made(self._thread, lambda: Client(target, **options))

    register_device = _call(Client.register_device)
    register_anonymous_device = _call(Client.register_anonymous_device)
    unregister_device = _call(Client.unregister_device)
    unregister_user = _call(Client.unregister_user)
    update_device = _call(Client.update_device)
    get_device = _call(Client.get_device)
    list_devices = _call(Client.list_devices)
    devices = _walk(Client.devices)
    create_bind_grant = _call(Client.create_bind_grant)
    get_client_config = _call(Client.get_client_config)
    report_interaction = _call(Client.report_interaction)
    check_credential = _call(Client.check_credential)
    create_tag = _call(Client.create_tag)
    get_tag = _call(Client.get_tag)
    list_tags = _call(Client.list_tags)
    tags = _walk(Client.tags)
    update_tag = _call(Client.update_tag)
    delete_tag = _call(Client.delete_tag)
    subscribe = _call(Client.subscribe)
    unsubscribe = _call(Client.unsubscribe)
    list_subscriptions = _call(Client.list_subscriptions)
    subscriptions = _walk(Client.subscriptions)
    send = _follow(Client.send)
    watch = _follow(Client.watch)
    explain = _walk(Client.explain)
    cancel_message = _call(Client.cancel_message)
    get_message = _call(Client.get_message)
    list_messages = _call(Client.list_messages)
    messages = _walk(Client.messages)
    list_results = _call(Client.list_results)
    results = _walk(Client.results)

    def send_many(self, requests: Iterable[SendRequest]) -> Iterator[ManyAnswer]:
        """See `Client.send_many`. `requests` is asked in a thread, which it may block."""
        return self._thread.iterate(self._client.send_many(_in_threads(requests)))


class SyncAdminClient(_Face[AdminClient]):
    """`AdminClient`, waited for. The arguments are its own."""

    def __init__(self, target: str, **options: Any) -> None:
        """See `AdminClient`. Raises ValueError."""
        self._thread = LoopThread()
        self._client = _made(self._thread, lambda: AdminClient(target, **options))

    create_application = _call(AdminClient.create_application)
    get_application = _call(AdminClient.get_application)
    list_applications = _call(AdminClient.list_applications)
    applications = _walk(AdminClient.applications)
    update_application = _call(AdminClient.update_application)
    delete_application = _call(AdminClient.delete_application)
    rotate_secret = _call(AdminClient.rotate_secret)
    list_secrets = _call(AdminClient.list_secrets)
    secrets = _walk(AdminClient.secrets)
    revoke_secret = _call(AdminClient.revoke_secret)
    set_credential = _call(AdminClient.set_credential)
    list_credentials = _call(AdminClient.list_credentials)
    credentials = _walk(AdminClient.credentials)
    delete_credential = _call(AdminClient.delete_credential)


def _made(thread: LoopThread, make: Callable[[], C]) -> C:
    """A client that lives in the thread's loop; without one the thread goes. Raises what `make` raises."""

    async def in_loop() -> C:
        return make()

    try:
        return thread.run(in_loop())
    except BaseException:
        thread.close()
        raise


async def _in_threads(requests: Iterable[SendRequest]) -> AsyncGenerator[SendRequest]:
    iterator, ended = iter(requests), object()
    while True:
        request = await asyncio.to_thread(next, iterator, ended)
        if not isinstance(request, SendRequest):
            return
        yield request
