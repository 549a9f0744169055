"""Install the dependencies before the sources are copied.

What it does
------------
Where ``COPY . .`` (or the copy of a source folder) stands before the installation of dependencies, copies manifest and
lockfile alone, runs the installation, and copies the sources behind it. A RUN that installs and then builds is cut in
two. Tools that install the project too (poetry, uv, pdm, composer) first install everything else, and run as they did
behind the sources.

ARG of a commit, a build's number or its date moves down to its first use (or to what might use it), with the LABEL
that names it: past commands that are known not to read it.

Why
---
A layer is built again when anything that an earlier COPY brought in has changed. With all sources copied first, each
edited line of code downloads and installs all dependencies again. A new value of an ARG throws away every RUN behind
it, whether it reads it or not.

It needs the build context, because only the project's files tell what an installation reads. It is refused where that
is not certain, and where the image would differ: scripts around the installation that may need the sources,
dependencies that are folders of the project, installed packages or generated files that the context holds too, a
lockfile that the installation rewrites, commands in between that need the sources.

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

from dataclasses import replace
from difflib import SequenceMatcher
from itertools import accumulate
from pathlib import Path

from buildopt.dockerfile.late_installs import LateInstall, late_installs
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes.copied_files import Unknown, context_files
from buildopt.dockerfile.passes.install_first import Move, plan
from buildopt.dockerfile.passes.late_arguments import Kept, Lowered, lowered
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.stage_steps import Blocked, Step, steps
from buildopt.source import Edit, Span, apply_edits

NAME = "order_layers"
OPT_IN = False


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Move installations above the copies of the sources, stage by stage; then arguments below what ignores them."""
    changes: list[Change] = []
    refused: list[Refusal] = []
    late = late_installs(dockerfile)
    for stage in dockerfile.stages:
        mine = [item for item in late if item.run.stage.index == stage.index and item.run.instruction.keyword == "RUN"]
        if mine:
            _stage(dockerfile, stage, mine, context, changes, refused)
    edits = [edit for change in changes for edit in change.edits]
    moved = parse(dockerfile.source.replace(apply_edits(dockerfile.source.text, edits))) if edits else dockerfile
    if moved.errors:
        return PassResult(tuple(changes), tuple(refused))
    found = list(lowered(moved))
    arguments = [item for item in found if isinstance(item, Lowered)]
    refused += (
        Refusal(NAME, _line(dockerfile, moved, item.line), item.reason) for item in found if isinstance(item, Kept)
    )
    changes += (_lowering(dockerfile, moved, item) for item in arguments)
    if edits and arguments:
        changes = _merged(dockerfile, moved, changes, arguments)
    return PassResult(tuple(changes), tuple(refused))


def _lowering(dockerfile: Dockerfile, moved: Dockerfile, item: Lowered) -> Change:
    names = ", ".join(item.names)
    line = _line(dockerfile, moved, item.line)
    why = f"a new value of {item.names[0]} no longer repeats `{item.shown}`, which does not read it"
    return Change(NAME, f"declare {names} further down", why, (line, line), item.edits)


def _line(dockerfile: Dockerfile, moved: Dockerfile, line: int) -> int:
    """The line of an ARG in the file as it came; all ARG keep their order."""
    now = [item for item in moved.instructions if item.keyword == "ARG"]
    before = [item for item in dockerfile.instructions if item.keyword == "ARG"]
    return next((old.lines[0] for old, new in zip(before, now, strict=True) if new.lines[0] == line), line)


def _merged(dockerfile: Dockerfile, moved: Dockerfile, changes: list[Change], arguments: list[Lowered]) -> list[Change]:
    """Two rewrites of one text as edits of the text as it came; the first change has them all."""
    edits = [edit for item in arguments for edit in item.edits]
    old = dockerfile.source.text.splitlines(keepends=True)
    new = apply_edits(moved.source.text, edits).splitlines(keepends=True)
    starts = list(accumulate((len(line) for line in old), initial=0))
    found = [
        Edit(Span(starts[i1], starts[i2]), "".join(new[j1:j2]))
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    return [replace(change, edits=tuple(found) if index == 0 else ()) for index, change in enumerate(changes)]


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
    return Change(
        NAME,
        f"install before the sources are copied: {', '.join(move.shown)}",
        f"an edited source no longer repeats `{move.shown[0]}`: it reads only {move.reads}",
        move.lines,
        move.edits,
    )
