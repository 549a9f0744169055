"""A whole file system copied onto another.

## What it does
Finds `COPY --from=… / /` onto a base image that has files of its own.

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
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "whole-filesystem-copied"
ALIASES = ("DL3067",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_ROOT = frozenset(("/", "/.", "/*", "//"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every copy from elsewhere."""
    for stage, instruction, _ in walk(dockerfile):
        if instruction.keyword != "COPY" or instruction.flag("from") is None or len(instruction.words) < 2:
            continue
        scratch = stage.image is not None and stage.image.text == "scratch"
        root = frozenset(("/",)) if settings.like_hadolint else _ROOT
        *sources, target = (word.text.strip("\"'") for word in instruction.words)
        if target not in root or not root & set(sources) or (scratch and not settings.like_hadolint):
            continue
        message = "this puts a whole file system onto another: name what is needed"
        yield Finding(NAME, message, dockerfile.source, instruction.words[-1].span, SEVERITY, CATEGORY, ALIASES)
