"""The fence in single stories (P3): what went wrong with simpler rules, step by step."""

from collections.abc import Sequence

import pytest

from bellhop_server.app.fencing import Fence
from tests.model.explorer import Player
from tests.model.fence_world import FenceWorld
from tests.model.phones import Call, login, logout, logout_everywhere, moved
from tests.model.settings import Sender, Setting

pytestmark = pytest.mark.promise("P3")

ANNA = ("d1", "anna", "aa")
TO_ANNA = Sender("d1", "anna")
COMMITTED = ("commit", "committed")
UNDER_WAY = ("S0 begins", "S0 reads", "S0 has read")


def story(*calls: Sequence[Call], senders: Sequence[Sender] = (TO_ANNA,)) -> Player[FenceWorld]:
    """Anna's device, messages to her, and callers."""
    setting = Setting((ANNA,), tuple(senders), tuple(map(tuple, calls)))
    return Player(lambda loop: FenceWorld(loop, setting))


def test_a_logout_with_nothing_in_flight_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    wait = Fence.wait

    async def counting(self: Fence, ends: "set[object]") -> None:
        asked.append(len(ends))
        await wait(self, ends)

    monkeypatch.setattr(Fence, "wait", counting)
    with story([logout("d1")], senders=[]) as player:
        player.take("C0.0 unregister d1 begins", *COMMITTED)

        assert player.world.waiting == set()
        assert asked == [0]


def test_a_logout_waits_for_what_is_under_way() -> None:
    with story([logout("d1")]) as player:
        player.take(*UNDER_WAY, "C0.0 unregister d1 begins", *COMMITTED)
        assert player.world.waiting

        player.take("S0 at aa arrives")
        assert player.world.waiting

        player.take("S0 at aa is answered")
        assert not player.world.waiting


def test_what_is_read_after_the_logout_is_not_sent() -> None:
    """The sender has marked when the logout commits; it reads what the logout has written."""
    with story([logout("d1")]) as player:
        player.take("S0 begins", "C0.0 unregister d1 begins", *COMMITTED)
        assert player.world.waiting

        player.take("S0 reads", "S0 has read")
        assert not player.world.waiting
        assert player.world.arrived == []


def test_a_logout_that_is_repeated_waits_although_it_finds_nothing_to_do() -> None:
    with story([logout("d1"), logout("d1")]) as player:
        player.take(*UNDER_WAY, "C0.0 unregister d1 begins", *COMMITTED)
        player.take("C0.0 unregister d1 loses patience", "C0.0 unregister d1 is cancelled")
        player.take("C0.1 unregister d1 begins", *COMMITTED)

        assert player.world.waiting == {"C0.1 unregister d1"}
        player.take("S0 at aa arrives", "S0 at aa is answered")
        assert not player.world.waiting


def test_a_token_that_moved_between_two_calls_is_waited_for() -> None:
    """What went out to the token was for the first device; the second has it when it logs out, and then nobody."""
    with story([login("d2", "ben", "aa"), logout("d2"), logout("d2")]) as player:
        player.take(*UNDER_WAY, "C0.0 register d2 ben aa begins", *COMMITTED)
        player.take("C0.0 register d2 ben aa loses patience", "C0.0 register d2 ben aa is cancelled")
        player.take("C0.1 unregister d2 begins", *COMMITTED)
        player.take("C0.1 unregister d2 loses patience", "C0.1 unregister d2 is cancelled")
        player.take("C0.2 unregister d2 begins", *COMMITTED)

        assert player.world.waiting == {"C0.2 unregister d2"}
        player.take("S0 at aa arrives", "S0 at aa is answered")
        assert not player.world.waiting


def test_a_call_that_is_cancelled_while_it_is_committed_leaves_word_of_what_to_wait_for() -> None:
    with story([login("d2", "ben", "aa"), logout("d2"), logout("d2")]) as player:
        player.take(*UNDER_WAY, "C0.0 register d2 ben aa begins", *COMMITTED)
        player.take("C0.0 register d2 ben aa loses patience", "C0.0 register d2 ben aa is cancelled")
        player.take("C0.1 unregister d2 begins", "C0.1 unregister d2 loses patience", "commit")
        player.take("C0.1 unregister d2 is cancelled", "committed")
        player.take("C0.2 unregister d2 begins", *COMMITTED)

        assert player.world.waiting == {"C0.2 unregister d2"}


def test_a_token_that_changes_between_mark_and_read_is_marked_anew() -> None:
    with story([moved("d1", "bb"), logout("d1"), login("d2", "ben", "bb")]) as player:
        player.take("S0 begins", "C0.0 update d1 bb begins", *COMMITTED, "S0 reads", "S0 has read")
        assert not player.world.waiting

        player.take("S0 reads", "S0 has read")
        player.take("C0.1 unregister d1 begins", *COMMITTED, "C0.1 unregister d1 loses patience")
        player.take("C0.2 register d2 ben bb begins", *COMMITTED)
        assert "C0.2 register d2 ben bb" in player.world.waiting

        player.take("S0 at bb arrives", "S0 at bb is answered")
        assert not player.world.waiting


def test_a_device_that_went_and_came_back_is_another_binding() -> None:
    with story([logout("d1"), login("d1", "anna", "aa")]) as player:
        player.take("C0.0 unregister d1 begins", *COMMITTED, "C0.1 register d1 anna aa begins", *COMMITTED)
        player.take(*UNDER_WAY)

        assert player.world.arrived == []
        assert player.world.steps() == {}


def test_a_mark_lasts_one_attempt_and_the_next_one_reads_again() -> None:
    with story([logout("d1")], senders=[Sender("d1", "anna", refusals=1)]) as player:
        player.take(*UNDER_WAY, "S0 at aa is refused", "C0.0 unregister d1 begins", *COMMITTED)
        assert not player.world.waiting

        player.take("S0 tries again", "S0 reads", "S0 has read")
        assert player.world.arrived == []
        assert player.world.steps() == {}


def test_what_is_confirmed_is_not_waited_for_though_its_answer_is_out() -> None:
    with story([logout("d1")], senders=[Sender("d1", "anna", confirms=True)]) as player:
        player.take(*UNDER_WAY, "C0.0 unregister d1 begins", *COMMITTED, "S0 at aa arrives")
        assert player.world.waiting

        player.take("S0 at aa is confirmed")
        assert not player.world.waiting
        player.take("S0 at aa is answered")


def test_what_is_taken_back_by_its_deadline_is_not_waited_for_any_more() -> None:
    with story([logout("d1")], senders=[Sender("d1", "anna", loses=True)]) as player:
        player.take(*UNDER_WAY, "C0.0 unregister d1 begins", *COMMITTED, "S0 at aa is given up")

        assert not player.world.waiting
        assert player.world.arrived == []


def test_a_call_that_is_cancelled_while_it_queues_is_never_carried_out() -> None:
    """A login that timed out must not be committed after the logout that followed it."""
    with story([logout("d1")], [login("d1", "ben", "aa"), logout("d1")], senders=[]) as player:
        player.take("C0.0 unregister d1 begins", "commit")
        player.take("C1.0 register d1 ben aa begins", "C1.0 register d1 ben aa loses patience")
        player.take("C1.0 register d1 ben aa is cancelled", "C1.1 unregister d1 begins", "committed", *COMMITTED)

        assert player.world.phones.rows == {}
        assert player.world.steps() == {}


def test_a_logout_of_a_user_waits_by_user_and_not_by_the_devices_it_finds() -> None:
    with story([logout_everywhere("anna"), logout_everywhere("anna")]) as player:
        name = "unregister user anna"
        player.take(*UNDER_WAY, f"C0.0 {name} begins", *COMMITTED)
        player.take(f"C0.0 {name} loses patience", f"C0.0 {name} is cancelled", f"C0.1 {name} begins", *COMMITTED)

        assert player.world.waiting == {f"C0.1 {name}"}
        player.take("S0 at aa arrives", "S0 at aa is answered")
        assert not player.world.waiting


def test_a_logout_of_a_user_that_is_repeated_waits_for_who_had_the_token_before() -> None:
    """The second finds neither a device nor a mark that names its user."""
    with story([login("d2", "ben", "aa"), logout_everywhere("ben"), logout_everywhere("ben")]) as player:
        name = "unregister user ben"
        player.take(*UNDER_WAY, "C0.0 register d2 ben aa begins", *COMMITTED)
        player.take("C0.0 register d2 ben aa loses patience", "C0.0 register d2 ben aa is cancelled")
        player.take(f"C0.1 {name} begins", *COMMITTED, f"C0.1 {name} loses patience", f"C0.1 {name} is cancelled")
        player.take(f"C0.2 {name} begins", *COMMITTED)

        assert player.world.waiting == {f"C0.2 {name}"}
        player.take("S0 at aa arrives", "S0 at aa is answered")
        assert not player.world.waiting
