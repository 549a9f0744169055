"""How many large bodies are sent at once."""

from __future__ import annotations

import threading

import pytest

from buildopt.registry.lane import FIRST, PATIENCE, Lane
from buildopt.registry.retry import Stopped


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def entered(lane: Lane) -> bool:
    """Whether one more body may be sent at this moment."""
    try:
        lane.enter(lambda: True)  # whoever would have to wait is sent away
    except Stopped:
        return False
    return True


def test_few_at_once_where_bodies_end_soon() -> None:
    clock = Clock()
    lane = Lane(6, clock)
    assert [entered(lane) for _ in range(FIRST + 1)] == [*[True] * FIRST, False]
    for _ in range(50):
        clock.now += PATIENCE * 0.9
        lane.leave()
        assert entered(lane)
        assert not entered(lane)
    assert lane.allowed == FIRST


def test_one_more_whenever_nothing_ends_and_never_more_than_allowed() -> None:
    clock = Clock()
    lane = Lane(FIRST + 2, clock)
    assert all(entered(lane) for _ in range(FIRST))
    begun = []
    for _ in range(5):
        clock.now += PATIENCE
        begun.append((entered(lane), entered(lane)))
    assert begun == [(True, False), (True, False), (False, False), (False, False), (False, False)]
    lane.leave()
    assert entered(lane) and not entered(lane), "what it has grown to it keeps"


def test_an_idle_lane_has_not_been_waiting() -> None:
    clock = Clock()
    lane = Lane(6, clock)
    clock.now += 1000
    assert [entered(lane) for _ in range(FIRST + 1)] == [*[True] * FIRST, False]


@pytest.mark.parametrize("most", [1, 2])
def test_few_are_kept_to(most: int) -> None:
    clock = Clock()
    lane = Lane(most, clock)
    assert [entered(lane) for _ in range(most)] == [True] * most
    clock.now += 1000
    assert not entered(lane)


def test_who_waits_goes_on_when_another_leaves() -> None:
    lane = Lane(1)
    lane.enter(lambda: False)
    waiting = threading.Thread(target=lane.enter, args=(lambda: False,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    lane.leave()
    waiting.join(10)
    assert not waiting.is_alive()
