"""The one place where requests are tried again: how often, and how long to wait before."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from buildopt.registry.failure import LONGEST_ASKED, RegistryError

if TYPE_CHECKING:
    import tenacity

Result = TypeVar("Result")

ATTEMPTS = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0
POLL_SECONDS = 0.2
"""How often whoever waits for something else looks whether to stop."""

TIMES = {"unreachable": 3, "timeout": 3, "digest": 2}
"""Attempts by kind of failure where they are fewer: a registry that is not there should not cost a minute. One that
answered before is there, and may be starting anew."""


class Stopped(Exception):
    """The push was interrupted; unwinds a worker."""


class Signal(Protocol):
    """Something that says whether to stop, such as a threading.Event."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float, /) -> bool: ...


class Either:
    """Two events as one signal."""

    def __init__(self, one: threading.Event, other: threading.Event) -> None:
        self._one = one
        self._other = other

    def is_set(self) -> bool:
        return self._one.is_set() or self._other.is_set()

    def wait(self, timeout: float, /) -> bool:
        """Wait until one of them is set, at most ``timeout`` seconds; whether one is."""
        end = time.monotonic() + timeout
        while not self.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._one.wait(min(left, POLL_SECONDS))
        return True


def attempt(
    work: Callable[[int], Result],
    stop: Signal,
    notice: Callable[[RegistryError, float], None] = lambda error, seconds: None,
) -> Result:
    """Call ``work`` with 1, 2, … until it does not fail, or fails for good; that RegistryError is raised.

    ``notice`` is told of each failure that will be tried again, and the seconds until then. Raises Stopped once
    ``stop`` is set, also while waiting.
    """

    if stop.is_set():
        raise Stopped
    try:
        return work(1)
    except RegistryError as error:
        if not _again(error):
            raise
        first = error
    return _further(work, first, stop, notice)


def _further(
    work: Callable[[int], Result],
    first: RegistryError,
    stop: Signal,
    notice: Callable[[RegistryError, float], None],
) -> Result:
    """The attempts after one that failed with ``first``."""
    import tenacity  # most pushes never need it, and all would wait for it

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise Stopped

    counts: dict[str, int] = {}

    def enough(state: tenacity.RetryCallState) -> bool:
        """Whether it failed often enough, in all or in the same way."""
        error = _error(state)
        kind = error.kind if error is not None else ""
        counts[kind] = counts.get(kind, 0) + 1
        known = kind == "unreachable" and error is not None and error.answered
        return state.attempt_number >= ATTEMPTS or counts[kind] >= (ATTEMPTS if known else TIMES.get(kind, ATTEMPTS))

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = _error(state)
        if error is not None:
            notice(error, state.upcoming_sleep)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_again),
        stop=enough,
        wait=_wait,
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )
    number = 0

    def once() -> Result:
        nonlocal number
        number += 1
        if number == 1:
            raise first
        if stop.is_set():
            raise Stopped
        return work(number)

    return retrying(once)


def _error(state: tenacity.RetryCallState) -> RegistryError | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, RegistryError) else None


def _again(error: BaseException) -> bool:
    return (
        isinstance(error, RegistryError)
        and error.transient
        and (error.retry_after is None or error.retry_after <= LONGEST_ASKED)
    )


def _wait(state: tenacity.RetryCallState) -> float:
    error = _error(state)
    pause = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (state.attempt_number - 1)) * random.uniform(0.75, 1.25)
    # Who says "0" has cut the rest of a second off, and who says "10ms" means the next request, not the last of many.
    return max(pause, (error.retry_after or 0.0) if error is not None else 0.0)
