"""The machine can fail: each of these changes to the server breaks a promise, and is found."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings

from bellhop_server.app import recording, sorting, watching
from bellhop_server.app.fencing import Fence, Mark
from bellhop_server.domain.message import Send
from bellhop_server.domain.terms import Terms
from bellhop_server.store.presence import SqlPresence
from tests.everything.runs import bounded, play
from tests.everything.theatre import Theatre

Change = Callable[[pytest.MonkeyPatch], None]


def the_fence_waits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "ends", lambda *_, **__: set())


def a_mark_ends_before_the_hand_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mark, "open_ends", lambda *_: [])


def users_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = sorting._obstacle

    def obstacle(sheet: Any, to_users: bool, *rest: Any) -> str | None:
        return real(sheet, False, *rest)

    patch.setattr(sorting, "_obstacle", obstacle)


def epochs_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = sorting._obstacle

    def obstacle(sheet: Any, to_users: bool, item: Any, device: Any, now: int) -> str | None:
        return real(sheet, to_users, item, device._replace(binding_epoch=item.binding_epoch), now)

    patch.setattr(sorting, "_obstacle", obstacle)


def bindings_do_not_end(patch: pytest.MonkeyPatch) -> None:
    real = sorting._obstacle

    def obstacle(sheet: Any, to_users: bool, item: Any, device: Any, now: int) -> str | None:
        return real(sheet, to_users, item, device._replace(binding_expire_time=None), now)

    patch.setattr(sorting, "_obstacle", obstacle)


def cancellations_are_not_read(patch: pytest.MonkeyPatch) -> None:
    real = SqlPresence.read_present

    async def read(*arguments: Any) -> Any:
        return (await real(*arguments))._replace(cancelled=False)

    patch.setattr(SqlPresence, "read_present", read)


def everything_may_go_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Terms, "may_resend", lambda *_: True)


def what_is_to_be_tried_again_is_dropped(patch: pytest.MonkeyPatch) -> None:
    real = recording.Ledger.finish

    async def finish(ledger: Any, again: Any) -> bool:
        return await real(ledger, [])

    patch.setattr(recording.Ledger, "finish", finish)


def request_ids_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Send, "keys", ())


def hand_overs_have_no_deadline(patch: pytest.MonkeyPatch) -> None:
    real = sorting.Chunk

    def chunk(**fields: Any) -> Any:
        return real(**fields | {"deadline": fields["deadline"] + 60})

    patch.setattr(sorting, "Chunk", chunk)


def a_result_is_told_twice(patch: pytest.MonkeyPatch) -> None:
    real = watching.shown
    patch.setattr(watching, "shown", lambda page, shows: real([*page, *page[:1]], shows))


CHANGES: list[tuple[Change, str]] = [
    (the_fence_waits_for_nothing, "P3"),
    (a_mark_ends_before_the_hand_over, "P3"),
    (users_are_not_compared, "P3"),
    (epochs_are_not_compared, "P3"),
    (bindings_do_not_end, "P5"),
    (cancellations_are_not_read, "after its cancellation|GAVE_UP"),
    (everything_may_go_again, "P9"),
    (what_is_to_be_tried_again_is_dropped, "P7"),
    (request_ids_are_not_looked_at, "P8"),
    (hand_overs_have_no_deadline, "for too long"),
    (a_result_is_told_twice, "P10"),
]


@pytest.mark.parametrize(("change", "broken"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_change_is_found(
    change: Change, broken: str, sqlite_theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    # The first way in which it fails is enough.
    options = settings(bounded(400), phases=(Phase.generate,), report_multiple_bugs=False)
    with pytest.raises(AssertionError, match=broken):
        play(sqlite_theatre, options, 0)
