"""The instructions of a stage with the folder that each works in, the stages that it starts from included."""

from __future__ import annotations

from dataclasses import dataclass, replace

from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.images import Image, image
from buildopt.dockerfile.passes.state import base_reference
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.scope import Scope, joined, walk


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction; ``folder`` is the working folder, None where only the base image knows it.

    ``scope`` and ``run`` have that folder too. ``run`` is None for all but what a known shell runs.
    """

    instruction: Instruction
    stage: Stage
    scope: Scope
    folder: str | None
    run: Run | None

    @property
    def line(self) -> int:
        """Its first line."""
        return self.instruction.lines[0]


class Blocked(Exception):
    """Copies stay where they are: the message is the reason, ``line`` where it stands."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def base(dockerfile: Dockerfile, stage: Stage) -> Image:
    """The image that a stage starts from in the end."""
    return image(base_reference(dockerfile, stage))


def steps(dockerfile: Dockerfile, stage: Stage) -> list[Step]:
    """Every instruction of a stage but FROM, those of the stages below it first."""
    chain = [stage]
    while chain[0].base_index is not None:
        chain.insert(0, dockerfile.stages[chain[0].base_index])
    origin = base(dockerfile, stage)
    folder = origin.folder
    if folder is None and (origin.runs_as_root or origin.repository == "scratch"):
        folder = "/"
    of_run = {run.instruction.span.start: run for run in runs(dockerfile)}
    scopes: dict[int, list[tuple[Instruction, Scope]]] = {}
    for owner, instruction, scope in walk(dockerfile):
        if instruction.keyword != "FROM":
            scopes.setdefault(owner.index, []).append((instruction, scope))
    found = []
    for part in chain:
        for instruction, scope in scopes.get(part.index, ()):
            settled = replace(scope, workdir=folder)
            run = of_run.get(instruction.span.start)
            found.append(Step(instruction, part, settled, folder, None if run is None else replace(run, scope=settled)))
            if instruction.keyword == "WORKDIR":
                path = scope.expand(instruction.words[0].text)
                folder = joined(folder, path.text if path is not None and path.error is None else None)
    return found
