"""Who of several repositories of one registry gets a blob first, and from which the others then have it mounted.

Nobody sends what a neighbour holds: all of them say first whether they do. Who says nothing within some seconds is not
waited for again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from buildopt.oci.descriptor import Digest
from buildopt.registry.retry import POLL_SECONDS, Stopped

PATIENCE = 5.0
"""Seconds in which the neighbours are to say whether they hold a blob."""


@dataclass(slots=True)
class _Claim:
    """``told``: the repositories that said whether they hold it; ``holder``: the one that does, or will."""

    told: set[str] = field(default_factory=set)
    holder: Future[str] = field(default_factory=Future)
    taken: bool = False


class Claims:
    """The claims of one push, for any number of threads. ``groups`` are registry and repository of each destination."""

    def __init__(self, groups: Iterable[tuple[str, str]]) -> None:
        self._claims: dict[tuple[str, Digest], _Claim] = {}
        self._asking: dict[str, set[str]] = {}
        for registry, repository in groups:
            self._asking.setdefault(registry, set()).add(repository)
        self._changed = threading.Condition()

    def holds(self, registry: str, repository: str, digest: Digest) -> None:
        """A repository holds a blob: from here its neighbours may have it mounted."""
        with self._changed:
            claim = self._claim(registry, repository, digest)
            if not claim.taken:
                claim.taken = True
                claim.holder.set_result(repository)

    def wants(
        self, registry: str, repository: str, digest: Digest, ended: Callable[[], bool]
    ) -> tuple[Future[str], bool]:
        """A repository lacks a blob: who holds it or will hold it, and whether that is the one that asks.

        Who is told True sends it and sets the result, empty where that failed. Raises Stopped where ``ended`` says so.
        """
        until = time.monotonic() + PATIENCE
        with self._changed:
            claim = self._claim(registry, repository, digest)
            while not claim.taken and not self._asking[registry] <= claim.told:
                if ended():
                    raise Stopped
                if time.monotonic() >= until:
                    self._asking[registry] &= claim.told
                    break
                self._changed.wait(POLL_SECONDS)
            mine, claim.taken = not claim.taken, True
            return claim.holder, mine

    def leave(self, registry: str, repository: str) -> None:
        """A destination is done with its blobs, or failed: nobody waits for what it says."""
        with self._changed:
            self._asking[registry].discard(repository)
            self._changed.notify_all()

    def _claim(self, registry: str, repository: str, digest: Digest) -> _Claim:
        claim = self._claims.setdefault((registry, digest), _Claim())
        claim.told.add(repository)
        self._changed.notify_all()
        return claim
