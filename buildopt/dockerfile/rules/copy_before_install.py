"""All sources copied before the dependencies are installed.

## What it does
Finds `COPY . .` (or the copy of a source folder) that stands before a dependency install whose manifest could have been
copied alone.

## Why
A layer is built again when anything that an earlier COPY brought in has changed. With all sources copied first, each
edited line of code downloads and installs all dependencies again. With manifest and lockfile copied first, the install
comes from the cache until one of those two changes.

## Example
```dockerfile
FROM node:22
WORKDIR /app
COPY . .
RUN npm ci
RUN npm run build
```

## Use instead
```dockerfile
FROM node:22
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build
```

## References
- https://docs.docker.com/build/cache/optimize/#order-your-layers
- https://docs.docker.com/build/building/best-practices/#leverage-build-cache
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.installs import Install
from buildopt.dockerfile.late_installs import late_installs
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "copy-before-install"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CACHE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """One word about each such copy."""
    for late in late_installs(dockerfile):
        span = late.copy.instruction.span
        yield Finding(NAME, _message(late.install), dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _message(install: Install) -> str:
    files = " and ".join(install.manifests[:2])
    if install.tool == "dotnet":
        files = "the project files"
    first = f"copy {files} first"
    if install.compiles:
        return f"`{install.shown}` fetches all dependencies again after each change of a source: {first} and fetch them"
    hint = f" (with {install.hint})" if install.hint else ""
    return f"`{install.shown}` runs again after each change of a source: {first}, install{hint}, then copy the rest"
