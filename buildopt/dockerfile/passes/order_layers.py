"""Install the dependencies before the sources are copied.

What it does
------------
Where ``COPY . .`` (or the copy of a source folder) stands before the installation of dependencies, copies manifest and
lockfile alone, runs the installation, and copies the sources behind it. A RUN that installs and then builds is cut in
two. Tools that install the project too (poetry, uv, pdm, composer) first install everything else, and run as they did
behind the sources.

A RUN that only installs packages of the system (apt-get, apk, dnf, zypper, pacman) rises above copies of the context
that it cannot notice: outside the folders of the system, off all search paths, with nothing in between that needs them.

ARG of a commit, a build's number or its date moves down to its first use (or to what might use it), with the LABEL
that names it: past commands that are known not to read it.

Why
---
A layer is built again when anything that an earlier COPY brought in has changed. With all sources copied first, each
edited line of code downloads and installs all dependencies again. A new value of an ARG throws away every RUN behind
it, whether it reads it or not.

It needs the build context, because only the project's files tell what an installation reads. It is refused where that
is not certain, and where the image would differ: scripts around the installation that may need the sources,
dependencies that are folders of the project, installed packages or generated files that the context holds too,
commands in between that need the sources. A lockfile that npm, yarn or pnpm may write anew stays as the sources have
it, which is said; where a later command may read it, the installation is left where it is.

Example
-------
::

    FROM python:3.12
    WORKDIR /app
    COPY . .
    RUN pip install -r requirements.txt

Use instead
-----------
::

    FROM python:3.12
    WORKDIR /app
    COPY requirements.txt ./
    RUN pip install -r requirements.txt
    COPY . .

References
----------
- https://docs.docker.com/build/cache/optimize/#order-your-layers
- https://docs.docker.com/build/building/best-practices/#leverage-build-cache
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import accumulate
from pathlib import Path

from buildopt.dockerfile.late_installs import LateInstall, late_installs
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.ordering.copied_files import Unknown, context_files
from buildopt.dockerfile.ordering.install_first import Move, plan
from buildopt.dockerfile.ordering.late_arguments import Kept, Lowered, lowered
from buildopt.dockerfile.ordering.stage_steps import Blocked, Step, steps
from buildopt.dockerfile.ordering.system_first import Lifted, lifted
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.source import Edit, Span, apply_edits

NAME = "order_layers"
OPT_IN = False


_MOST_ROUNDS = 6


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Move installations above the copies of the sources, and arguments below what ignores them, until all is done."""
    current = dockerfile
    changes: list[Change] = []
    found = _round(dockerfile, context)
    for number in range(_MOST_ROUNDS):
        edits = [edit for change in found.applied for edit in change.edits]
        following = parse(current.source.replace(apply_edits(current.source.text, edits))) if edits else current
        if following.errors:
            problem = Refusal(NAME, 1, "the rewrite would not parse, so it was not made: please report this")
            found = PassResult(refused=(*found.refused, problem))
        if not edits or following.errors:
            break
        for change in found.applied:
            first, last = (_line(dockerfile, current, line) for line in change.lines)
            changes.append(replace(change, lines=(first, max(first, last)), edits=change.edits if number == 0 else ()))
        current = following
        after = _round(current, context)
        if after.applied and number == 0:
            changes = [replace(change, edits=()) for change in changes]
        found = after
    refused = tuple(replace(item, line=_line(dockerfile, current, item.line)) for item in found.refused)
    if changes and not any(change.edits for change in changes):
        changes[0] = replace(changes[0], edits=tuple(_differences(dockerfile, current)))
    return PassResult(tuple(changes), refused)


def _round(dockerfile: Dockerfile, context: Path | None) -> PassResult:
    """What can be done to a file as it stands: the installations first."""
    changes: list[Change] = []
    refused: list[Refusal] = []
    late = late_installs(dockerfile)
    for stage in dockerfile.stages:
        mine = [item for item in late if item.run.stage.index == stage.index and item.run.instruction.keyword == "RUN"]
        if mine:
            _stage(dockerfile, stage, mine, context, changes, refused)
    if not changes and context is not None:
        _system_packages(dockerfile, context, changes, refused)
    if changes:
        return PassResult(tuple(changes), tuple(refused))
    found = list(lowered(dockerfile))
    refused += (Refusal(NAME, item.line, item.reason) for item in found if isinstance(item, Kept))
    return PassResult(tuple(_lowering(item) for item in found if isinstance(item, Lowered)), tuple(refused))


def _system_packages(dockerfile: Dockerfile, context: Path, changes: list[Change], refused: list[Refusal]) -> None:
    try:
        files = context_files(dockerfile, context)
    except Unknown:
        return
    for stage in dockerfile.stages:
        found = lifted(dockerfile, stage, steps(dockerfile, stage), files)
        if isinstance(found, Lifted):
            why = f"a changed file no longer repeats `{found.shown}`, which reads none of what is copied"
            title = f"install packages of the system before files are copied: {found.shown}"
            changes.append(Change(NAME, title, why, found.lines, found.edits))
        elif found is not None:
            refused.append(Refusal(NAME, found.line, found.reason))


def _lowering(item: Lowered) -> Change:
    why = f"a new value of {item.names[0]} no longer repeats `{item.shown}`, which does not read it"
    return Change(NAME, f"declare {', '.join(item.names)} further down", why, (item.line, item.line), item.edits)


def _line(dockerfile: Dockerfile, current: Dockerfile, line: int) -> int:
    """The line of a file as it came that became a line of it as it is now, or one near it."""
    if current is dockerfile:
        return line
    old, new = (item.source.text.splitlines() for item in (dockerfile, current))
    text = new[line - 1] if line <= len(new) else ""
    places = [number for number, other in enumerate(old, 1) if other == text]
    return min(places or range(1, len(old) + 1), key=lambda number: abs(number - line))


def _differences(dockerfile: Dockerfile, current: Dockerfile) -> Iterator[Edit]:
    """Several rewrites of one text, one after the other, as edits of the text as it came."""
    old, new = (item.source.text.splitlines(keepends=True) for item in (dockerfile, current))
    starts = list(accumulate((len(line) for line in old), initial=0))
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Edit(Span(starts[i1], starts[i2]), "".join(new[j1:j2]))


def _stage(
    dockerfile: Dockerfile,
    stage: Stage,
    late: list[LateInstall],
    context: Path | None,
    changes: list[Change],
    refused: list[Refusal],
) -> None:
    line = late[0].run.instruction.lines[0]
    if context is None:
        reason = f"only the context tells what `{late[0].install.shown}` reads of the project: give --context"
        refused.append(Refusal(NAME, line, reason))
        return
    try:
        files = context_files(dockerfile, context)
        walked = steps(dockerfile, stage)
    except Unknown as unknown:
        refused.append(Refusal(NAME, line, str(unknown)))
        return
    done = -1
    for item in late:
        first = _index(walked, item.copy.instruction.span.start)
        last = _index(walked, item.run.instruction.span.start)
        if last <= done:
            continue
        try:
            if first <= done:
                raise Blocked(item.run.instruction.lines[0], "the sources are needed before this install")
            move = plan(dockerfile, stage, walked, first, last, files)
        except Blocked as blocked:
            refused.append(Refusal(NAME, blocked.line, blocked.reason))
            continue
        done = move.last
        changes.append(_change(move))


def _index(walked: list[Step], start: int) -> int:
    return next(index for index, step in enumerate(walked) if step.instruction.span.start == start)


def _change(move: Move) -> Change:
    why = f"an edited source no longer repeats `{move.shown[0]}`: it reads only {move.reads}"
    if move.rewritten:
        why += f"; the image has {move.rewritten} as the sources have it, not as the install may write it anew"
    return Change(
        NAME,
        f"install before the sources are copied: {', '.join(move.shown)}",
        why,
        move.lines,
        move.edits,
    )
