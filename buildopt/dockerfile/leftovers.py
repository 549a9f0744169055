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
from buildopt.dockerfile.scope import mount_options, possible_bases, shipped_stages
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


def read_elsewhere(dockerfile: Dockerfile, run: Run, cache: re.Pattern[str]) -> bool:
    """Whether something but the manager may want the cache that a RUN leaves: a command, or what is mounted there."""
    for each in (run, *later_runs(dockerfile, run)):
        for flag in each.instruction.flags_named("mount"):
            if cache.search(mount_options(flag.value or "").get("target", "")):
                return True
        for command in each.script.commands:
            named = any(cache.search((word.text or word.raw).strip("\"'")) for word in command.words)
            if named and command.name not in ("rm", "find"):
                return True
    return False


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
    prefix = user_prefix(filling.command)
    if prefix is None or any(_MOVES.match(item.name) for item in filling.command.environment):
        return None
    if filling.command.argv[0].text != filling.command.name or _goes_away(run, filling):
        return None
    command = prefix + command
    edit = append(dockerfile, run, command)
    return None if edit is None else Fix(f"add `{command}` to the same RUN", (edit,), safe)


# Variables that may put a cache elsewhere for one command.
_MOVES = re.compile(r"HOME$|npm_config|yarn|xdg", re.IGNORECASE)
# Wrappers that change nothing about who runs a command, nor where.
_PLAIN_WRAPPERS = frozenset(
    (
        *("builtin", "chronic", "command", "eatmydata", "env", "exec", "ionice", "nice", "nohup", "stdbuf", "time"),
        *("timeout", "unbuffer", "xargs"),
    )
)
_PLAIN_SUDO = frozenset(("sudo", "-E", "--preserve-env", "-n", "--non-interactive", "-H", "--set-home"))


def user_prefix(command: Command) -> str | None:
    """What makes another command run as the same user: nothing, or ``sudo``; None where that is not plain."""
    wrappers = set(command.wrappers) - _PLAIN_WRAPPERS
    if not wrappers:
        return ""
    options = command.words[: len(command.words) - len(command.argv)]
    if wrappers == {"sudo"} and all(word.text in _PLAIN_SUDO | _PLAIN_WRAPPERS for word in options):
        return "sudo "
    return None


_REMOVALS = frozenset(
    ("remove", "rm", "purge", "del", "erase", "autoremove", "uninstall", "un", "global remove", "unlink", "r")
)
_PROGRAMS = re.compile(r"/usr/|/opt/|\bbin\b|\bnpm\b|\byarn\b|\bnvm\b|\bnodejs?\b|[$`]")


def _goes_away(run: Run, filling: Call) -> bool:
    """Whether the manager itself may be removed later in the same RUN, so that it could clean nothing."""
    for command in run.script.commands:
        if command.span.start < filling.command.span.start:
            continue
        found = call(command)
        removed = found.operands if found is not None and found.action in _REMOVALS else ()
        if found is not None and removed and found.tool != filling.tool:
            return True
        if any(word.text is None or filling.tool in word.text for word in removed):
            return True
        programs = command.arguments if command.name in ("rm", "mv", "find") else ()
        if filling.tool in ("npm", "yarn") and any(_PROGRAMS.search(word.raw) for word in programs):
            return True
    return False


def later_runs(dockerfile: Dockerfile, run: Run) -> Iterator[Run]:
    """The RUN instructions that start from what a RUN leaves: in its stage, and in those upon it."""
    family = {run.stage.index}
    for stage in dockerfile.stages:
        if not family.isdisjoint(possible_bases(dockerfile, stage)):
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
