"""Commands by the name of their program, as the profile wants them seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.scope import of_the_last_file
from buildopt.dockerfile.shell import Command
from buildopt.settings import LintSettings
from buildopt.source import Span


def named(
    dockerfile: Dockerfile, settings: LintSettings, names: Collection[str], *, triggers: bool = True
) -> Iterator[tuple[Run, Command]]:
    """The commands of all RUN whose program is one of ``names``; ``triggers``: those behind ONBUILD too."""
    for run in all_runs(dockerfile):
        if not triggers and is_trigger(dockerfile, run):
            continue
        if settings.like_hadolint:
            yield from ((run, found.command) for found in seen(run) if found.name in names)
        else:
            yield from ((run, command) for command in run.script.commands if command.name in names)


def is_trigger(dockerfile: Dockerfile, run: Run) -> bool:
    """Whether a RUN stands behind ONBUILD."""
    return run.instruction.span in _triggers(dockerfile)


@of_the_last_file
def _triggers(dockerfile: Dockerfile) -> frozenset[Span]:
    return frozenset(outer.trigger.span for outer in dockerfile.instructions if outer.trigger is not None)
