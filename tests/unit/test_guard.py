"""The mass-deletion guard (P11)."""

import pytest

from bellhop_server.domain.guard import MINIMUM, WINDOW, DeletionGuard

pytestmark = pytest.mark.promise("P11")


def test_nothing_is_deleted_before_there_is_enough_to_judge_by() -> None:
    guard: DeletionGuard[str] = DeletionGuard()
    for _ in range(MINIMUM - 2):
        guard.note(bad=False)
    guard.note(bad=True)
    guard.hold("dead")

    assert guard.release() == []

    guard.note(bad=False)

    assert guard.release() == ["dead"]
    assert guard.release() == []


def test_one_percent_goes() -> None:
    guard: DeletionGuard[int] = DeletionGuard()
    gone: list[int] = []
    for number in range(1000):
        guard.note(bad=number % 100 == 3)
        if number % 100 == 3:
            guard.hold(number)
        gone += guard.release()

    assert gone == list(range(3, 1000, 100))


def test_sixty_percent_all_stay() -> None:
    guard: DeletionGuard[int] = DeletionGuard()
    gone: list[int] = []
    for number in range(1000):
        guard.note(bad=number % 5 < 3)
        if number % 5 < 3:
            guard.hold(number)
        gone += guard.release()

    assert gone == []
    assert guard.tripped


def test_what_was_held_when_it_tripped_lives_on() -> None:
    guard: DeletionGuard[str] = DeletionGuard()
    guard.hold("suspect")
    for _ in range(MINIMUM):
        guard.note(bad=True)

    assert guard.release() == []

    for _ in range(WINDOW):
        guard.note(bad=False)

    assert not guard.tripped
    assert guard.release() == []


def test_only_the_last_answers_count() -> None:
    guard: DeletionGuard[str] = DeletionGuard()
    for _ in range(WINDOW):
        guard.note(bad=True)
    for _ in range(WINDOW - WINDOW // 5 - 1):
        guard.note(bad=False)

    assert guard.tripped

    guard.note(bad=False)

    assert not guard.tripped
