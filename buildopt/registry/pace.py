"""How much is under way at one registry at once: less after it had enough or broke off, more again as it goes well.

The bound is halved, at most once for all that was under way together, and rises again with each success: by one for as
many successes as it is, but slowly where the registry had said that it was too much. Where it says how long to wait,
nothing new begins until then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from buildopt.registry.failure import LONGEST_ASKED, RETRIED_STATUSES, RegistryError
from buildopt.registry.retry import POLL_SECONDS, Signal, Stopped

CAREFUL = 8
"""So many times as many successes as usual raise the bound by one after the registry had too much."""
UNTOLD_SECONDS = 0.5
"""How long nothing new begins where the registry had too much and does not say how long."""
FOREVER = float("inf")
_CROWDED = frozenset({"rate-limit", "unreachable", "timeout"})


class Bound:
    """What the bound is and how it moves, without threads and without a clock: times are seconds of any clock.

    ``most`` is what it begins with and never exceeds; it is never below one.
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.busy = 0
        self._limit = float(self.most)
        self._round = 0
        self._care = 1
        self._held_until = -FOREVER

    @property
    def limit(self) -> int:
        """How many turns may be taken at once now."""
        return int(self._limit)

    def pause(self, now: float) -> float:
        """Seconds until a turn may begin: 0 for at once, FOREVER where another one has to end first."""
        if now < self._held_until:
            return self._held_until - now
        return 0.0 if self.busy < self.limit else FOREVER

    def begin(self) -> int:
        """A turn begins; what is returned belongs to its end."""
        self.busy += 1
        return self._round

    def end(self, begun: int, error: BaseException | None, now: float) -> None:
        """A turn ends, well or with ``error``; what has nothing to do with pace leaves the bound alone."""
        self.busy -= 1
        if error is None:
            self._limit = min(float(self.most), self._limit + 1 / (self._care * self._limit))
        elif isinstance(error, RegistryError) and (error.kind in _CROWDED or error.status in RETRIED_STATUSES):
            if begun == self._round:  # what began before the last cut says nothing of the bound since then
                self._limit = max(1.0, self._limit / 2)
                self._round += 1
                self._care = CAREFUL if error.kind == "rate-limit" or error.status == 503 else 1
            self._held_until = max(self._held_until, now + _held(error))


def _held(error: RegistryError) -> float:
    """Seconds for which nothing new begins."""
    least = UNTOLD_SECONDS if error.kind == "rate-limit" else 0.0
    if error.retry_after is None:
        return least
    # Who asks for hours is not waited for: that ends the destination, and whoever else is there soon hears it too.
    return max(least, error.retry_after) if error.retry_after <= LONGEST_ASKED else 0.0


class Pace:
    """The turns of one registry, for any number of threads."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bound = Bound(most)
        self._clock = clock
        self._changed = threading.Condition()
        self._own = threading.local()

    @property
    def limit(self) -> int:
        """How many turns may be taken at once now."""
        with self._changed:
            return self._bound.limit

    @contextmanager
    def turn(self, stop: Signal) -> Iterator[None]:
        """Do something at the registry once it may be begun; how it ends moves the bound.

        A turn within a turn of the same thread is a part of it. Raises Stopped where ``stop`` is set before it begins.
        """
        if getattr(self._own, "taken", False):
            yield
            return
        begun = self._begin(stop)
        self._own.taken = True
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._own.taken = False
            with self._changed:
                self._bound.end(begun, error, self._clock())
                self._changed.notify_all()

    def _begin(self, stop: Signal) -> int:
        with self._changed:
            while True:
                if stop.is_set():
                    raise Stopped
                pause = self._bound.pause(self._clock())
                if pause <= 0:
                    return self._bound.begin()
                self._changed.wait(min(pause, POLL_SECONDS))
