"""Lanes: nobody starves, nobody has more than he may, and priorities weigh what they say (P12)."""

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain.batch import BATCH_SIZE
from bellhop_server.domain.lanes import APPLICATION_LIMIT, LANE_LIMIT, REFILL, WORKER_LIMIT, Lane, Lanes, Share
from bellhop_server.domain.notification import Priority

pytestmark = pytest.mark.promise("P12")

LOW, NORMAL, HIGH = (Lane("shop", priority) for priority in Priority)


class Crowd:
    """Lanes with batches waiting, and a worker that takes what it is allotted as a store would give it."""

    def __init__(self, waiting: dict[Lane, list[int]], lanes: Lanes | None = None) -> None:
        self.lanes = lanes or Lanes()
        self.waiting = {lane: deque(batches) for lane, batches in waiting.items()}
        self.in_hand: deque[tuple[Lane, int]] = deque()
        self.served: Counter[Lane] = Counter()

    def take(self) -> list[Share]:
        """One round."""
        shares = self.lanes.allot([lane for lane, batches in self.waiting.items() if batches])
        for share in shares:
            devices = count = 0
            batches = self.waiting[share.lane]
            while batches and devices < share.devices and count < share.batches:
                size = batches.popleft()
                self.in_hand.append((share.lane, size))
                devices += size
                count += 1
            self.served[share.lane] += devices
            self.lanes.took(share, devices, count)
        return shares

    def finish(self, batches: int = 1) -> None:
        """The oldest in hand get their results."""
        for _ in range(min(batches, len(self.in_hand))):
            self.lanes.give_back(*self.in_hand.popleft())

    def held(self, lane: Lane | None = None) -> int:
        return sum(size for each, size in self.in_hand if lane in (None, each))


def test_a_lane_that_is_alone_takes_all_it_may() -> None:
    crowd = Crowd({NORMAL: [BATCH_SIZE] * 100})
    while crowd.take():
        pass
    assert LANE_LIMIT - REFILL < crowd.held() < LANE_LIMIT + BATCH_SIZE


def test_a_lane_whose_provider_hangs_leaves_the_rest_to_the_others() -> None:
    crowd = Crowd({Lane("slow", 2): [BATCH_SIZE] * 100})
    while crowd.take():
        pass
    crowd.waiting[NORMAL] = deque([1])
    [share] = crowd.take()
    assert share.lane == NORMAL
    assert crowd.served[NORMAL] == 1


def test_however_many_hang_the_others_go_on() -> None:
    hanging = {Lane(f"dead{app}", priority): [BATCH_SIZE] * 100 for app in range(9) for priority in map(int, Priority)}
    crowd = Crowd(hanging)
    while crowd.take():
        pass
    assert crowd.held() >= WORKER_LIMIT - LANE_LIMIT
    crowd.waiting[HIGH] = deque([1] * 10)
    served = 0
    for _ in range(3):
        crowd.take()
        done = [each for each in crowd.in_hand if each[0] == HIGH]
        served += len(done)
        for each in done:
            crowd.in_hand.remove(each)
            assert crowd.lanes.give_back(*each)
    assert served == 10


def test_lanes_of_one_application_have_a_limit_together() -> None:
    crowd = Crowd({lane: [BATCH_SIZE] * 100 for lane in (LOW, NORMAL, HIGH)})
    while crowd.take():
        pass
    assert crowd.held() < APPLICATION_LIMIT + 3 * (REFILL + BATCH_SIZE)


def test_no_lane_saves_up_more_than_it_may_hold() -> None:
    lanes = Lanes()
    for _ in range(50):
        for share in lanes.allot([LOW, NORMAL]):
            lanes.took(share, 0, 0)
    assert all(share.devices <= LANE_LIMIT for share in lanes.allot([LOW, NORMAL]))


def test_of_two_that_always_have_work_each_gets_by_its_weight() -> None:
    """Batches come to a quantum of each: 1 to 2 to 8."""
    crowd = Crowd({lane: [25] * 4_000 for lane in (LOW, NORMAL, HIGH)})
    for _ in range(40):
        crowd.take()
        crowd.finish(len(crowd.in_hand))
    one = crowd.served[LOW]
    assert one >= 20 * BATCH_SIZE
    quantum = 8 * BATCH_SIZE
    assert abs(crowd.served[NORMAL] - 2 * one) <= quantum
    assert abs(crowd.served[HIGH] - 8 * one) <= quantum + LANE_LIMIT


def test_large_and_small_batches_of_one_priority_get_the_same() -> None:
    small, large = Lane("a", 2), Lane("b", 2)
    crowd = Crowd({small: [1] * 20_000, large: [BATCH_SIZE] * 400})
    for _ in range(40):
        crowd.take()
        crowd.finish(len(crowd.in_hand))
    # A claim is of 64 batches at most, so single sends may get less than their share, and never more.
    assert 40 * 32 <= crowd.served[small] <= crowd.served[large] + LANE_LIMIT


def test_what_frees_room_says_so_once() -> None:
    crowd = Crowd({NORMAL: [BATCH_SIZE] * 100})
    while crowd.take():
        pass
    told = [crowd.lanes.give_back(*crowd.in_hand.popleft()) for _ in range(4)]
    assert told.count(True) == 1
    assert not crowd.lanes.give_back(NORMAL, 0)


apps = st.builds(Lane, st.sampled_from("abcd"), st.sampled_from(list(map(int, Priority))))
loads = st.dictionaries(apps, st.lists(st.integers(1, BATCH_SIZE), min_size=1, max_size=60), min_size=1, max_size=8)


@given(loads, st.lists(st.integers(0, 6), max_size=80))
def test_limits_hold_whatever_comes_and_goes(waiting: dict[Lane, list[int]], finished: list[int]) -> None:
    lanes = Lanes(lane_limit=500, worker_limit=1_200)
    crowd = Crowd(waiting, lanes)
    for batches in finished:
        crowd.take()
        # The last batch of a share may go beyond it.
        assert all(crowd.held(lane) < 500 + BATCH_SIZE for lane in crowd.waiting)
        assert crowd.held() < 1_200 + len(crowd.waiting) * (REFILL + BATCH_SIZE)
        crowd.finish(batches)


@given(loads)
def test_everything_has_its_turn(waiting: dict[Lane, list[int]]) -> None:
    """Whatever waits is taken, and a lane with work is not passed over for longer than all have to earn a batch."""
    crowd = Crowd(waiting, Lanes(lane_limit=500, worker_limit=600))
    idle: Counter[Lane] = Counter()
    for _ in range(2_000):
        if not any(crowd.waiting.values()):
            break
        before = dict(crowd.served)
        shares = crowd.take()
        crowd.finish(len(crowd.in_hand))
        assert shares
        for lane, batches in crowd.waiting.items():
            idle[lane] = idle[lane] + 1 if batches and crowd.served[lane] == before.get(lane, 0) else 0
            assert idle[lane] <= 2 * len(crowd.waiting)
    assert not any(crowd.waiting.values())
    assert crowd.served == Counter({lane: sum(batches) for lane, batches in waiting.items()})


def test_an_idle_worker_holds_nothing() -> None:
    crowd = Crowd({NORMAL: [7] * 30, HIGH: [BATCH_SIZE] * 30})
    while any(crowd.waiting.values()):
        crowd.take()
        crowd.finish(len(crowd.in_hand))
    assert not crowd.lanes._in_hand
    assert crowd.lanes._total == 0
    assert WORKER_LIMIT > LANE_LIMIT
