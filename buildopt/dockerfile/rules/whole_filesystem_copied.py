"""A whole file system copied onto another.

## What it does
Finds `COPY --from=… / /` onto a base image that has files of its own, in a stage that becomes an image. What consists
of a few tools only and is meant to be copied like that is left: `tonistiigi/xx`.

## Why
Everything is there twice, once in a layer below, and files of two systems are mixed. What is needed can be named; an
image that is only to be flattened starts from `scratch`.

## Example
```dockerfile
FROM golang:1.23 AS build
RUN go build -o /out/app
FROM debian:12
COPY --from=build / /
```

## Use instead
```dockerfile
FROM golang:1.23 AS build
RUN go build -o /out/app
FROM debian:12
COPY --from=build /out/app /app
```

## References
- https://docs.docker.com/reference/dockerfile/#copy---from
- https://github.com/tonistiigi/xx
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.bases import base_of
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.scope import shipped_stages, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "whole-filesystem-copied"
ALIASES = ("DL3067",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_ROOT = frozenset(("/", "/.", "/*", "//"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every copy from elsewhere."""
    shipped = shipped_stages(dockerfile)
    for stage, instruction, _ in walk(dockerfile):
        origin = instruction.flag("from")
        if instruction.keyword != "COPY" or origin is None or len(instruction.words) < 2:
            continue
        scratch = stage.image is not None and stage.image.text == "scratch"
        root = frozenset(("/",)) if settings.like_hadolint else _ROOT
        *sources, target = (word.text.strip("\"'") for word in instruction.words)
        if target not in root or not root & set(sources) or (scratch and not settings.like_hadolint):
            continue
        if not settings.like_hadolint and (stage.index not in shipped or _tools(dockerfile, stage, origin.value or "")):
            continue
        message = "this puts a whole file system onto another: name what is needed"
        yield Finding(NAME, message, dockerfile.source, instruction.words[-1].span, SEVERITY, CATEGORY, ALIASES)


def _tools(dockerfile: Dockerfile, stage: Stage, name: str) -> bool:
    """Whether what is copied from is an image of tools for any base."""
    origin = dockerfile.stage(name, stage.index)
    found = base_of(dockerfile, origin) if origin is not None else image(name)
    return found is not None and f"/{found.repository}".endswith("/tonistiigi/xx")
