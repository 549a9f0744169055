"""Waiting between attempts, and what ends it."""

from __future__ import annotations

import threading
import time

import pytest

from buildopt.registry.failure import RegistryError
from buildopt.registry.retry import Either, Stopped, attempt


@pytest.mark.parametrize("number", [0, 1])
def test_either_event_ends_a_long_wait(number: int) -> None:
    events = (threading.Event(), threading.Event())

    def limited(attempt_number: int) -> None:
        events[number].set()  # such as by a neighbour that failed for good
        raise RegistryError("rate-limit", "slower", transient=True, retry_after=60)

    began = time.monotonic()
    with pytest.raises(Stopped):
        attempt(limited, Either(*events))
    assert time.monotonic() - began < 30


def test_a_wait_without_an_event_is_as_long_as_it_was_asked_for() -> None:
    began = time.monotonic()
    assert not Either(threading.Event(), threading.Event()).wait(0.3)
    assert time.monotonic() - began >= 0.3
