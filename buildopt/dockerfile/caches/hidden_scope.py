"""What the hidden-content rule is asked about, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import APT, Manager
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import family


@dataclass(frozen=True, slots=True)
class Hidden:
    """A reader or writer of what the mount would hide."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scope:
    """A manager in one family of stages, the folders that would be mounted, and what reads them.

    ``left``: the image holds content there now, so that a reader would miss it. ``strict``: any unknown program counts
    as a reader; otherwise only what names the folders or the manager.
    """

    dockerfile: Dockerfile
    context: Path | None
    manager: Manager
    family: int
    runs: Sequence[Run]
    mounted: frozenset[int]
    targets: tuple[str, ...]
    left: bool
    strict: bool

    @property
    def marks(self) -> tuple[str, ...]:
        """Text that speaks of the folders."""
        return tuple(mark for cache in self.manager.caches for mark in cache.marks)

    @property
    def shown(self) -> str:
        """The folder to name: what apt leaves behind are its lists."""
        return self.targets[-1] if self.manager is APT else self.targets[0]

    def inside(self, stage: Stage) -> bool:
        """Whether a stage belongs to the family."""
        return family(self.dockerfile, stage) == self.family
