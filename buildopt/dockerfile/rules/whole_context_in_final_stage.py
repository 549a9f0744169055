"""The whole context in an image that is built elsewhere.

## What it does
Finds `COPY . …` or `ADD . …` in the last stage of a file whose earlier stages build what that stage copies from them.

## Why
The image then has the sources beside what was made of them: it is larger, shows the world more than it must, and each
edited line of code makes that layer and all that follow new. A stage of its own was meant to prevent that.

## Example
```dockerfile
FROM node:22 AS build
WORKDIR /app
COPY . .
RUN npm ci && npm run build

FROM node:22-slim
WORKDIR /app
COPY . .
COPY --from=build /app/dist ./dist
```

## Use instead
```dockerfile
FROM node:22 AS build
WORKDIR /app
COPY . .
RUN npm ci && npm run build

FROM node:22-slim
WORKDIR /app
COPY package.json server.js ./
COPY --from=build /app/dist ./dist
```
It is silent where the last stage's language runs from sources (Python, PHP, Ruby), where it compiles itself, and where
the earlier stages compile nothing, or install dependencies alone.

## References
- https://docs.docker.com/build/building/multi-stage/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.bases import base_of
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.toolchains import compilations
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "whole-context-in-final-stage"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_WHOLE = frozenset((".", "./", "*", "./*", "/", "./."))
# What stages install for others: the sources go with it.
_DEPENDENCIES = re.compile(
    r"(?:.*/)?(?:node_modules|vendor|\.?venv|env|site-packages|dist-packages|wheels|bundle|\.local|deps|python[\d.]*|"
    r"gems|\.m2|\.cargo|\.cache|etc|certs)(?:/.*)?"
)
# Images that run what was compiled; those of other languages run sources.
_RUNTIMES = re.compile(
    r"(?:.*/)?(?:alpine|debian|ubuntu|busybox|scratch|nginx|httpd|caddy|distroless/.*|(?:aspnet|runtime|runtime-deps)|"
    r"eclipse-temurin|openjdk|amazoncorretto|tomcat|ubi.*|wolfi.*|static|rockylinux|almalinux|amazonlinux|golang|rust)"
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last stage, then at what it copies from."""
    last = dockerfile.final_stage
    if last is None or len(dockerfile.stages) < 2:
        return
    copies = [item for item in last.instructions if _copies_context(item)]
    if not copies or any(compilations(dockerfile, last)):
        return
    made = _made(dockerfile)
    base = base_of(dockerfile, last)
    name = base.repository if base is not None else ""
    for instruction in last.instructions:
        origin = _taken_from(dockerfile, last, instruction)
        tool = made.get(origin.index) if origin is not None else None
        if tool and (_RUNTIMES.fullmatch(name) or (tool == "node" and name == "node")):
            message = "the last stage copies all sources beside what was built from them: copy only what it runs"
            span = copies[0].span
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
            return


def _copies_context(instruction: Instruction) -> bool:
    return (
        instruction.keyword in ("COPY", "ADD")
        and not instruction.problems
        and instruction.flag("from") is None
        and instruction.flag("exclude") is None
        and not instruction.heredocs
        and any(word.text.strip("\"'") in _WHOLE for word in instruction.words[:-1])
    )


def _taken_from(dockerfile: Dockerfile, last: Stage, instruction: Instruction) -> Stage | None:
    """The stage that an instruction copies more from than dependencies."""
    source = instruction.flag("from") if instruction.keyword == "COPY" and not instruction.problems else None
    if source is None or not source.value:
        return None
    paths = (word.text.strip("\"'").rstrip("/") for word in instruction.words[:-1])
    if all(_DEPENDENCIES.fullmatch(path) for path in paths):
        return None
    return dockerfile.stage(source.value, last.index)


def _made(dockerfile: Dockerfile) -> dict[int, str]:
    """By stage, the tool that it compiles with; only stages that have all sources."""
    whole: set[int] = set()
    for stage in dockerfile.stages:
        inherited = stage.base_index is not None and stage.base_index in whole
        if inherited or any(_copies_context(item) for item in stage.instructions):
            whole.add(stage.index)
    found: dict[int, str] = {}
    for stage in dockerfile.stages:
        if stage.index in whole:
            found.update((stage.index, tool) for _, tool, _, _ in compilations(dockerfile, stage))
    for stage in dockerfile.stages:
        if stage.base_index is not None and stage.base_index in found:
            found.setdefault(stage.index, found[stage.base_index])
    return found
