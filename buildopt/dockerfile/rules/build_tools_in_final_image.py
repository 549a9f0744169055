"""Compilers and headers that stay in the image.

## What it does
Finds compilers, `make`, `-dev` packages and the like that the last stage installs in order to build something, and does
not remove in the same RUN.

## Why
They are of no use once all is built: hundreds of megabytes that every machine pulls, and tools for whoever breaks in.
Removed by a later RUN they stay in the earlier layer.

## Example
```dockerfile
FROM python:3.13-slim
RUN apt-get update && apt-get install -y gcc libpq-dev
COPY requirements.txt .
RUN pip install -r requirements.txt
CMD ["python", "app.py"]
```

## Use instead
```dockerfile
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y gcc libpq-dev
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install -r requirements.txt

FROM python:3.13-slim
RUN apt-get update && apt-get install -y libpq5
COPY --from=build /venv /venv
CMD ["/venv/bin/python", "app.py"]
```

## References
- https://docs.docker.com/build/building/multi-stage/
- https://docs.docker.com/build/building/best-practices/#dont-install-unnecessary-packages
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile import packages
from buildopt.dockerfile.installs import compiled
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.toolchains import base_tool, starts_a_program
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "build-tools-in-final-image"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_COMPILERS = re.compile(
    r"(?:build-essential|build-base|gcc(?:-\d+)?|gcc-c\+\+|g\+\+(?:-\d+)?|make|cmake|clang(?:-\d+)?|gfortran|autoconf|automake|"
    r"ninja-build|base-devel|maven|gradle|golang(?:-go|-\d.*)?|go|cargo|rustc?|default-jdk|openjdk-?\d+-jdk(?:-headless)?|"
    r"java-[\d.]+-openjdk-devel)"
)
_HEADERS = re.compile(r".+-(?:dev|devel|headers)")
_INSTALLS = {"apt-get": ("install",), "apk": ("add",), "dnf": ("install", "groupinstall"), "zypper": ("install", "in")}
_REMOVALS = word_set("purge remove autoremove autopurge del erase rm auto-remove")
_BUILDS = word_set(
    "configure cmake pecl phpize docker-php-ext-install gem bundle pip pip3 poetry pipenv luarocks R Rscript"
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last stage."""
    stage = dockerfile.final_stage
    if stage is None or base_tool(dockerfile, stage) is not None or not starts_a_program(stage):
        return
    own = [run for run in runs(dockerfile) if run.stage.index == stage.index]
    if not any(_builds(command) for run in own for command in run.script.commands):
        return
    for run in own:
        yield from _left(dockerfile, stage, run)


def _builds(command: Command) -> bool:
    """Whether a command compiles, or installs what may have to be compiled."""
    call = packages.call(command)
    if call is not None:
        return call.tool in ("pip", "gem", "npm", "yarn") and call.action in ("install", "ci", "i", "")
    if compiled(command) is not None or (command.name in ("node-gyp", "make", "cmake", "configure")):
        return True
    return command.name in _BUILDS and "install" in command.texts


def _left(dockerfile: Dockerfile, stage: Stage, run: Run) -> Iterator[Finding]:
    """The tools that one RUN installs and keeps."""
    if stage.index != run.stage.index:
        return
    names: list[str] = []
    first: Command | None = None
    for command in run.script.commands:
        if _REMOVALS.intersection(command.texts[:3]) and packages.call(command) is not None:
            return
        call = packages.call(command)
        if call is None or call.action not in _INSTALLS.get(call.tool, ()) or call.has("-t", "--virtual"):
            continue
        found = [re.split(r"[=<>~:]", word.text)[0] for word in call.operands if word.text]
        tools = [name for name in found if _COMPILERS.fullmatch(name)]
        if tools:
            names += [*tools, *(name for name in found if _HEADERS.fullmatch(name) and name not in tools)]
            first = first or command
    if first is None:
        return
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    message = f"only the build needs {shown}: build in a stage of its own, and copy the result"
    yield Finding(NAME, message, dockerfile.source, run.span(first.span), SEVERITY, CATEGORY, ALIASES)
