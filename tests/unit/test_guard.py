"""The mass-deletion guard (P11): what is judged as a whole cannot be hidden by its order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain.guard import LIMIT, LONGEST, MINIMUM, QUIET, WINDOW, DeletionGuard

pytestmark = pytest.mark.promise("P11")


def batches(good: int, bad: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """So many answers in some order, cut into batches at some places: pairs of good and bad ones."""
    answers = st.permutations([False] * good + [True] * bad) | st.sampled_from(
        [[False] * good + [True] * bad, [True] * bad + [False] * good]
    )

    def cut(order: list[bool], places: list[int]) -> list[tuple[int, int]]:
        ends = sorted({place % len(order) for place in places} | {0, len(order)})
        pieces = [order[start:end] for start, end in pairwise(ends)]
        return [(piece.count(False), piece.count(True)) for piece in pieces]

    return st.builds(cut, answers, st.lists(st.integers(0, 10_000), max_size=40))


def heard(*answers: tuple[int, int], at: float = 0.0) -> DeletionGuard:
    guard = DeletionGuard()
    for good, bad in answers:
        guard.note(good, bad, at)
    return guard


def test_nothing_is_judged_before_there_is_enough_to_judge_by() -> None:
    guard = heard((MINIMUM - 2, 1))
    assert not guard.over(1e9)
    guard.note(1, 0, 2e9)
    assert not guard.over(2e9)
    assert guard.over(2e9 + QUIET)
    assert guard.trusted


def test_a_round_ends_when_nothing_comes_any_more_or_after_a_while() -> None:
    guard, now = heard((MINIMUM, 0)), 0.0
    while not guard.over(now):
        now += QUIET / 2
        guard.note(1, 0, now)
    assert LONGEST <= now < LONGEST + QUIET
    guard.start_over()
    guard.note(MINIMUM, 0, now)
    assert not guard.over(now + QUIET - 1)
    assert guard.over(now + QUIET)


@given(batches(400, 600))
def test_sixty_percent_are_never_believed_in_whatever_order(answers: list[tuple[int, int]]) -> None:
    guard = heard(*answers)
    assert guard.over(QUIET)
    assert not guard.trusted


@given(batches(40, 60))
def test_nor_are_they_where_they_are_few(answers: list[tuple[int, int]]) -> None:
    assert not heard(*answers).trusted


@given(batches(990, 10))
def test_one_percent_is_believed_in_whatever_order(answers: list[tuple[int, int]]) -> None:
    guard = heard(*answers)
    assert guard.over(QUIET)
    assert guard.trusted


def test_many_good_ones_from_before_do_not_hide_that_a_key_was_exchanged() -> None:
    guard = heard(*[(100, 0)] * 50)
    assert guard.trusted
    guard.note(40, 60, 1.0)
    assert not guard.trusted
    guard.note(10_000, 0, 2.0)
    assert not guard.trusted


def test_a_large_batch_is_as_good_at_its_end_as_at_its_beginning() -> None:
    assert heard((5 * WINDOW, WINDOW)).trusted
    assert not heard((5 * WINDOW, 2 * WINDOW)).trusted


def test_the_limit_itself_is_believed() -> None:
    bad = int(LIMIT * 100)
    assert heard((100 - bad, bad)).trusted
    assert not heard((99 - bad, bad + 1)).trusted


def test_a_new_round_knows_nothing_of_the_last_one() -> None:
    guard = heard((0, 500))
    guard.start_over()
    guard.note(49, 1, 1.0)
    assert guard.trusted
    assert guard.over(1.0 + QUIET)
