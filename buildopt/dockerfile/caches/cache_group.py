"""The stages that see each other's files, as a package manager's cache mounts concern them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.manager import Manager, Use
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import family


@dataclass(frozen=True, slots=True)
class Group:
    """The stages that see each other's files, for one manager; ``users`` are the runs that would get its mounts."""

    dockerfile: Dockerfile
    context: Path | None
    index: int
    runs: Sequence[Run]
    manager: Manager
    users: Sequence[Run] = ()

    @property
    def stages(self) -> list[Stage]:
        """The stages themselves."""
        return [stage for stage in self.dockerfile.stages if family(self.dockerfile, stage) == self.index]

    def all_uses(self) -> Iterator[tuple[Run, Use]]:
        """Every command of the manager, idle ones included."""
        return ((run, use) for run in self.runs for use in run.uses(self.manager))

    def starting(self) -> Iterator[Instruction]:
        """What a container may start."""
        for stage in self.stages:
            yield from (item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT"))


def text_of(context: Path | None, name: str) -> str:
    try:
        return read_text(context / name) if context is not None else ""
    except (OSError, ValueError):
        return ""


def has_option(use: Use, *options: str) -> bool:
    return any((word.text or word.raw).partition("=")[0] in options for word in use.arguments)
