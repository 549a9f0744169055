"""Package lists of apt left in an image's layer.

## What it does
Finds a RUN that runs `apt-get update` and does not remove /var/lib/apt/lists, in a stage that becomes an image.

## Why
The lists (20 to 50 MB) are of no use in an image: they are outdated soon, and whoever installs more runs
`apt-get update` anyway. Removed by a later RUN they stay in the earlier layer. A cache or tmpfs mount on the folder
keeps them out of the image altogether; this rule is then silent.

## Example
```dockerfile
RUN apt-get update && apt-get install -y curl
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*
```
or keep them between builds and out of the image:
```dockerfile
RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked apt-get update && apt-get install -y curl
```
There is no fix where a later instruction installs packages without an update of its own, or starts a program that may
do so: a script, `rosdep`. The fix is unsafe where a later program is not known at all.

## References
- https://docs.docker.com/build/building/best-practices/#apt-get
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from buildopt.dockerfile.appending import append
from buildopt.dockerfile.caches.hidden import BUILDERS
from buildopt.dockerfile.hadolint import mounts_from, seen, ships_for_hadolint
from buildopt.dockerfile.leftovers import user_prefix
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.runs import HARMLESS, runs_what_is_read, script_run
from buildopt.dockerfile.runs import Run, all_runs, apt_subcommand, runs
from buildopt.dockerfile.scope import possible_bases, shipped_stages
from buildopt.dockerfile.shell import Command, parse_shell
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "apt-lists-left"
ALIASES = ("DL3009",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_LISTS = "/var/lib/apt/lists"
_CLEAN_UP = "rm -rf /var/lib/apt/lists/*"
# Programs that call apt and rely on its lists.
_CALLERS = frozenset(
    (
        *("ansible", "ansible-playbook", "apt-build", "apt-fast", "apt-satisfy", "aptitude", "chef-client", "gdebi"),
        *("mk-build-deps", "nala", "puppet", "rosdep", "salt-call", "tasksel", "unattended-upgrade"),
    )
)
_APT = re.compile(r"\b(?:apt|apt-get|aptitude)\b[^&|;]*\b(?:install|build-dep|source|download)\b")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the updates of the stages that become images."""
    shipped = shipped_stages(dockerfile)
    dependent, doubtful = _stages_that_need_lists(dockerfile)
    for run in all_runs(dockerfile):
        if settings.like_hadolint:
            update = _update_for_hadolint(run) if ships_for_hadolint(dockerfile, run) else None
        else:
            update = _update(run) if run.stage.index in shipped else None
        if update is None:
            continue
        needed = run.instruction.span.start < dependent.get(run.stage.index, -1)
        prefix = _prefix(run, update)
        edit = None if needed or prefix is None else append(dockerfile, run, prefix + _CLEAN_UP)
        safe = run.instruction.span.start >= doubtful.get(run.stage.index, -1)
        fix = None if edit is None else Fix("remove the lists in the same RUN", (edit,), safe)
        message = "the package lists of apt stay in this layer: remove /var/lib/apt/lists in the same RUN"
        span = run.span(update.span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _update(run: Run) -> Command | None:
    """The update whose lists stay."""
    if run.mounted(_LISTS):
        return None
    update: Command | None = None
    for command in run.script.commands:
        word = apt_subcommand(command)
        if word is not None and word.text == "update":
            update = update or command
        elif _removes(command):
            if "function" in command.context:
                return None  # called later, most likely
            update = None
    return update


def _prefix(run: Run, update: Command) -> str | None:
    """How to become who ran the update; None where that is not plain: ``sudo sh -c '…'``."""
    if "sh -c" in update.context and any(command.wrappers or command.name == "su" for command in run.script.commands):
        return None
    return user_prefix(update)


def _removes(command: Command) -> bool:
    """Whether it is an `rm` or `find` that names the folder or one above it, or apt's own way (since apt 2.9)."""
    subcommand = apt_subcommand(command)
    if subcommand is not None and subcommand.text == "distclean":
        return True
    if command.name not in ("rm", "find"):
        return False
    for word in command.arguments:
        if re.fullmatch(r"([\"']).*\*.*\1", word.raw) and command.name == "rm":
            continue  # a quoted star is none
        if re.search(r"(?:^|[/\"'])var/lib/(?:apt(?:/lists)?(?:/|$|\*)|\*)|/var/lib/apt\b", word.raw):
            return True
        if re.search(r"/var/lib/\{[^}]*\bapt\b", word.raw) or re.search(r"\{[^}]*/var/lib/apt\b", word.raw):
            return True
    return False


def _update_for_hadolint(run: Run) -> Command | None:
    """Any `rm -rf` will do, and one folder of two needs the other."""
    if mounts_from(run, _LISTS) or all(mounts_from(run, folder) for folder in ("/var/lib/apt", "/var/cache/apt")):
        return None
    commands = list(seen(run))
    if any(item.runs(("rm",), ("-rf", f"{_LISTS}/*", f"{_LISTS}/", _LISTS)) for item in commands):
        return None
    programs = ("apt-get", "apt", "aptitude")
    return next((item.command for item in commands if item.runs(programs, ("update",))), None)


def _stages_that_need_lists(dockerfile: Dockerfile) -> tuple[dict[int, int], dict[int, int]]:
    """By stage, the start of the last instruction that uses the lists without an update, and of the last that might."""
    needed: dict[int, int] = {}
    doubtful: dict[int, int] = {}
    read: set[int] = set()
    for run in runs(dockerfile):
        read.add(run.instruction.span.start)
        _sort(
            run.stage.index, run.instruction.span.start, _need(run.script.commands, run.logical.text), needed, doubtful
        )
    for stage in dockerfile.stages:
        for outer in stage.instructions:
            instruction = outer.actual
            start = instruction.span.start
            text = " ".join(instruction.values)
            if instruction.keyword == "RUN" and start not in read:
                commands = parse_shell(shlex.join(instruction.values)).commands if instruction.exec_form else ()
                _sort(stage.index, start, _need(commands, text) if commands else False, needed, doubtful)
            elif instruction.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK") and _APT.search(text):
                _sort(stage.index, start, True, needed, doubtful)
    for stage in reversed(dockerfile.stages):
        bases = possible_bases(dockerfile, stage)
        for found in (needed, doubtful):
            for base in bases if stage.index in found else ():
                found[base] = max(found.get(base, -1), found[stage.index])
    return needed, doubtful


def _sort(stage: int, start: int, need: bool | None, needed: dict[int, int], doubtful: dict[int, int]) -> None:
    if need is not None:
        found = needed if need else doubtful
        found[stage] = max(found.get(stage, -1), start)


def _need(commands: Sequence[Command], text: str) -> bool | None:
    """Whether a script uses lists that it did not fetch: True, None where it does not, False where nobody knows."""
    answer: bool | None = None
    for command in commands:
        word = apt_subcommand(command)
        if word is not None:
            if word.text == "update":
                return answer
            if word.text in ("install", "build-dep", "source", "download", "satisfy"):
                return True
        elif command.name in _CALLERS or script_run(command, text) is not None or _makes_dependencies(command):
            return True
        elif command.words and not runs_what_is_read(command) and command.name not in HARMLESS | BUILDERS:
            answer = False
    return answer


def _makes_dependencies(command: Command) -> bool:
    return command.name in ("make", "rake") and any("dep" in word or "apt" in word for word in command.texts)
