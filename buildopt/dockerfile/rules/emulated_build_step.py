"""A Go program for another platform, compiled in emulation.

## What it does
Finds stages that compile Go for `$TARGETARCH` (or `$TARGETPLATFORM`) on a golang image of the target's platform, in
files made for several platforms.

## Why
Without `--platform=$BUILDPLATFORM` the whole stage, compiler included, runs as a program of the target's processor:
emulated, many times slower. Go compiles for every platform from any platform.

## Example
```dockerfile
FROM golang:1.24 AS build
ARG TARGETOS TARGETARCH
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .
FROM scratch
COPY --from=build /app /app
```

## Use instead
```dockerfile
FROM --platform=$BUILDPLATFORM golang:1.24 AS build
ARG TARGETOS TARGETARCH
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .
FROM scratch
COPY --from=build /app /app
```
The fix is unsafe: other commands of the stage may make files for the platform that they run on.

## References
- https://docs.docker.com/build/building/multi-platform/#cross-compilation
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.scope import shipped_stages
from buildopt.dockerfile.toolchains import base_tool, compilations
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "emulated-build-step"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.CACHE
_TARGET = re.compile(r"\bGOARCH=[\"']?\$\{?TARGETARCH\b")
_NO_CGO = re.compile(r"\bCGO_ENABLED[= ][\"']?0\b")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the stages that compile Go for the target."""
    if "TARGETARCH" not in dockerfile.source.text:
        return
    shipped = shipped_stages(dockerfile)
    for stage in dockerfile.stages:
        if stage.index in shipped or stage.image is None or base_tool(dockerfile, stage) != "go":
            continue
        origin = _origin(dockerfile, stage)
        if origin is None:
            continue
        found = next((shown for _, tool, shown, _ in compilations(dockerfile, stage) if tool == "go"), None)
        text = "\n".join(
            dockerfile.source.text[item.span.start : item.span.end]
            for item in stage.instructions
            if item.keyword in ("RUN", "ENV")
        )
        if found is None or not _TARGET.search(text) or not _NO_CGO.search(text):
            continue
        message = (
            f"`{found}` runs emulated for other platforms: write FROM --platform=$BUILDPLATFORM, Go cross-compiles"
        )
        assert origin.image is not None
        start = origin.image.span.start
        fix = Fix(
            "build on the builder's platform", (Edit(Span(start, start), "--platform=$BUILDPLATFORM "),), safe=False
        )
        yield Finding(NAME, message, dockerfile.source, origin.image.span, SEVERITY, CATEGORY, ALIASES, fix)


def _origin(dockerfile: Dockerfile, stage: Stage) -> Stage | None:
    """The stage whose FROM names the image; None where one on the way names a platform, or others start from it too."""
    while True:
        if stage.platform is not None:
            return None
        if stage.base_index is None:
            children = [other for other in dockerfile.stages if other.base_index == stage.index]
            return stage if stage.image is not None and len(children) < 2 else None
        stage = dockerfile.stages[stage.base_index]
