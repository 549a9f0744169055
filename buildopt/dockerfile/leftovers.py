"""Caches that package managers leave in an image: what the rules about them have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from buildopt.dockerfile.appending import append
from buildopt.dockerfile.hadolint import Seen, seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call, call, calls
from buildopt.dockerfile.runs import Run, all_runs, runs
from buildopt.dockerfile.scope import shipped_stages
from buildopt.dockerfile.shell import Command
from buildopt.finding import Fix


@dataclass(frozen=True, slots=True)
class Keeper:
    """A package manager that keeps a cache.

    ``removed`` is what an operand of ``rm`` or ``find`` looks like that names the cache or a folder around it.
    """

    fills: Callable[[Call], bool]
    cleans: Callable[[Call], bool]
    removed: re.Pattern[str]

    def left(self, run: Run) -> Call | None:
        """The first command that fills the cache, if nothing empties it afterwards."""
        filling: Call | None = None
        for command in run.script.commands:
            found = call(command)
            if found is not None and self.fills(found):
                filling = filling or found
            elif (found is not None and self.cleans(found)) or removes(command, self.removed):
                if "function" in command.context:
                    return None  # called later, most likely
                filling = None
        return filling

    def shipped(self, dockerfile: Dockerfile) -> Iterator[tuple[Run, Call]]:
        """Each RUN of the stages that become images that leaves a cache, and what fills it."""
        stages = shipped_stages(dockerfile)
        for run in all_runs(dockerfile):
            filling = self.left(run) if run.stage.index in stages else None
            if filling is not None:
                yield run, filling


def removes(command: Command, pattern: re.Pattern[str]) -> bool:
    """Whether it is an ``rm`` or a ``find`` on something of that pattern."""
    if command.name not in ("rm", "find"):
        return False
    return any(pattern.search((word.text or word.raw).strip("\"'")) for word in command.arguments)


def clean_up(dockerfile: Dockerfile, run: Run, filling: Call, command: str, *, safe: bool = True) -> Fix | None:
    """The fix that empties the cache at the end of the same RUN, as the user who filled it.

    None where the cache is filled under a condition: the manager may not be there otherwise.
    """
    if filling.command.depth or any(part.operator == "||" for part in run.script.parts):
        return None
    if "sudo" in filling.command.wrappers:
        command = f"sudo {command}"
    edit = append(dockerfile, run, command)
    return None if edit is None else Fix(f"add `{command}` to the same RUN", (edit,), safe)


def later_runs(dockerfile: Dockerfile, run: Run) -> Iterator[Run]:
    """The RUN instructions that start from what a RUN leaves: in its stage, and in those upon it."""
    family = {run.stage.index}
    for stage in dockerfile.stages:
        if stage.base_index in family:
            family.add(stage.index)
    for other in runs(dockerfile):
        if other.stage.index in family and other.instruction.span.start > run.instruction.span.start:
            yield other


def later_calls(dockerfile: Dockerfile, run: Run) -> Iterator[Call]:
    """The package managers' command lines of ``later_runs``."""
    for other in later_runs(dockerfile, run):
        yield from calls(other)


def left_for_hadolint(run: Run, fills: Callable[[Seen], bool], cleans: Callable[[Seen], bool]) -> Command | None:
    """The first command that fills a cache, unless the first clean-up of the RUN comes behind it."""
    commands = list(seen(run))
    filling = next((item for item in commands if fills(item)), None)
    cleaning = next((item for item in commands if cleans(item)), None)
    if filling is None or (cleaning is not None and cleaning.index > filling.index):
        return None
    return filling.command
