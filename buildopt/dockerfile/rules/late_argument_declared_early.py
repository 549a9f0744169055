"""A build argument that changes with each build, declared before an installation.

## What it does
Finds ARG of a commit, a build number, a date or a version that stands before a RUN which installs packages and does not
use it.

## Why
Every RUN after an ARG sees its value, used or not: when the value changes, all of them are built again. Declared right
before its first use, it leaves the installation in the cache.

## Example
```dockerfile
FROM node:22
ARG GIT_COMMIT
COPY package.json package-lock.json ./
RUN npm ci
RUN echo "$GIT_COMMIT" > /commit
```

## Use instead
```dockerfile
FROM node:22
COPY package.json package-lock.json ./
RUN npm ci
ARG GIT_COMMIT
RUN echo "$GIT_COMMIT" > /commit
```
The fix is unsafe: a script of a package might have read the variable.

## References
- https://docs.docker.com/reference/dockerfile/#impact-on-build-caching
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildopt.dockerfile import packages
from buildopt.dockerfile.installs import installs
from buildopt.dockerfile.managers import recognise
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.passes.runs import HARMLESS
from buildopt.dockerfile.runs import Run, runs
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "late-argument-declared-early"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CACHE
_CHANGING = re.compile(
    r"(?i)(?:(?:app|build|ci|docker|git|github|gitlab|image|release|repo|source|src|vcs)_?)?"
    r"(?:commit(?:_?(?:sha|hash|id|ref|date|time|short_sha))?|sha|git_?(?:sha|hash|rev|describe)|revision|vcs_?ref|"
    r"build_?(?:date|time|timestamp|number|num|no|id|sha|rev|revision|tag|version|info|url)|"
    r"pipeline_id|run_(?:id|number))"
)
_VERSION = re.compile(r"(?i)(?:(?:app|build|image|release|project|service|package)_?)?version")
# What breaks the cache on purpose (CACHEBUST) is not among them: it stands where it is meant to.
# A default that nobody builds with; any other one pins the value.
_NO_VALUE = re.compile(
    r"(?i)(?:|unknown|unset|undefined|dev|devel|development|latest|local|none|null|n/?a|not?[-_ ]?set|[0.]+(?:-\w+)?|"
    r"head|main|master|snapshot|now|today|1|date|version|commit|sha)"
)
_INSTALLS = frozenset(
    ("install", "add", "i", "groupinstall", "group install", "localinstall", "dist-upgrade", "upgrade")
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look behind each such ARG."""
    of_run = {run.instruction.span.start: run for run in runs(dockerfile)}
    defaults = {
        pair.key.text: pair.value.text.strip("\"'")
        for instruction in dockerfile.global_args
        for pair in instruction.pairs
        if pair.value is not None
    }
    for stage in dockerfile.stages:
        body = stage.instructions
        for index, instruction in enumerate(body):
            if instruction.keyword != "ARG" or instruction.problems:
                continue
            for pair in instruction.pairs:
                name = pair.key.text
                default = defaults.get(name, "") if pair.value is None else pair.value.text.strip("\"'")
                if not (_CHANGING.fullmatch(name) or _VERSION.fullmatch(name)) or not _NO_VALUE.fullmatch(default):
                    continue
                found = _late(dockerfile, body[index:], name, of_run)
                if found is not None:
                    yield found


def _late(
    dockerfile: Dockerfile, following: Sequence[Instruction], name: str, of_run: dict[int, Run]
) -> Finding | None:
    """The finding where an installation comes behind the ARG and before whatever may use it."""
    declaration = following[0]
    names = {name}
    shown, used = "", None
    carried = False
    for instruction in following[1:]:
        text = dockerfile.source.text[instruction.span.start : instruction.span.end]
        if any(item in text and re.search(rf"(?<!\w){re.escape(item)}(?!\w)", text) for item in names):
            if instruction.keyword not in ("ENV", "LABEL") or shown:
                used = instruction
                break
            # ENV and LABEL make nothing: what they name moves with them.
            carried = True
            if instruction.keyword == "ENV":
                names.update(pair.key.text for pair in instruction.pairs)
        elif instruction.keyword == "RUN":
            run = of_run.get(instruction.span.start)
            installed = _installed(run) if run is not None else None
            if installed is None:
                used = instruction
                break
            shown = shown or installed
    if not shown:
        return None
    severity = SEVERITY if _CHANGING.fullmatch(name) else Severity.INFO
    what = f"{name} (and what uses it)" if carried else name
    message = f"`{shown}` does not need {name}, yet runs again whenever it changes: declare {what} below"
    fix = _move(dockerfile, declaration, used) if used is not None and not carried else None
    return Finding(NAME, message, dockerfile.source, declaration.span, severity, CATEGORY, ALIASES, fix)


def _installed(run: Run) -> str | None:
    """The installation of a RUN, empty where there is none; None where it may read any variable."""
    found = ""
    install = next(iter(installs(run)), None)
    if not run.script.complete or (install is not None and install.compiles):
        return None
    for command in run.script.commands:
        call = packages.call(command)
        if call is not None and call.action in _INSTALLS:
            found = found or f"{command.name} {call.action}"
        elif install is not None and command is install.command:
            found = found or install.shown
        elif command.words and command.name not in HARMLESS and recognise(command) is None:
            return None
    return found


def _move(dockerfile: Dockerfile, declaration: Instruction, used: Instruction) -> Fix | None:
    """Put the line of the ARG before what uses it; None where something else stands in that line or belongs to it."""
    source = dockerfile.source
    lines = dockerfile.whole_lines(declaration)
    text = source.text[lines.start : lines.end]
    comments = {source.position(comment.span.start)[0] for comment in dockerfile.comments}
    if len(declaration.pairs) != 1 or declaration.comments or not text.endswith("\n"):
        return None
    if (
        declaration.lines[0] - 1 in comments
        or text.strip() != source.text[declaration.span.start : declaration.span.end]
    ):
        return None
    line = used.lines[0]
    while line - 1 in comments:
        line -= 1
    start = source.line_start(line)
    return Fix("declare it before its first use", (Edit(lines, ""), Edit(Span(start, start), text)), safe=False)
