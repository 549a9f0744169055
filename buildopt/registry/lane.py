"""How many large bodies are being sent at once to one destination: three, and more while none comes to its end.

Three fill a fast line. What a registry then does with a blob (it writes it to its disk before it answers) goes on
beside the next one's sending; many that are sent at once would all be written at the same moment, the line idle.
On a slow line every connection has limits of its own, and more of them get more through.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from buildopt.registry.retry import POLL_SECONDS, Stopped

FIRST = 3
PATIENCE = 0.25
"""Seconds in which something must end, or one more begins."""


class Lane:
    """The bodies under way, at most ``most`` of them; for any number of threads."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._allowed = min(FIRST, most)
        self._busy = 0
        self._clock = clock
        self._moved = clock()
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return self._allowed

    def enter(self, ended: Callable[[], bool]) -> None:
        """Wait until one more body may be sent. Raises Stopped where ``ended`` says so before."""
        with self._changed:
            while not self._free():
                if ended():
                    raise Stopped
                self._changed.wait(POLL_SECONDS)
            if self._busy == 0:
                self._moved = self._clock()
            self._busy += 1

    def leave(self) -> None:
        """A body has been sent, or will not be."""
        with self._changed:
            self._busy -= 1
            self._moved = self._clock()
            self._changed.notify_all()

    def _free(self) -> bool:
        if self._busy < self._allowed:
            return True
        now = self._clock()
        if self._allowed < self.most and now - self._moved >= PATIENCE:
            self._allowed += 1
            self._moved = now
            return True
        return False
