"""A compiler that runs under emulation.

## What it does
Finds a stage that compiles Go or Rust without `FROM --platform=$BUILDPLATFORM`, in a file that is made for several
platforms (it uses TARGETARCH, TARGETPLATFORM or BUILDPLATFORM), where another stage takes the result.

## Why
For every platform but the builder's own, BuildKit then runs the compiler through QEMU: five to twenty times slower.
Both compilers can make programs for other platforms natively, once their stage runs on the builder's platform.

## Example
```dockerfile
FROM golang:1.24 AS build
COPY . /src
RUN cd /src && CGO_ENABLED=0 go build -o /app .

FROM alpine:3.22
ARG TARGETARCH
ADD https://example.com/tool-$TARGETARCH /usr/local/bin/tool
COPY --from=build /app /app
```

## Use instead
```dockerfile
FROM --platform=$BUILDPLATFORM golang:1.24 AS build
ARG TARGETOS TARGETARCH
COPY . /src
RUN cd /src && CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .

FROM alpine:3.22
ARG TARGETARCH
ADD https://example.com/tool-$TARGETARCH /usr/local/bin/tool
COPY --from=build /app /app
```
It is silent where cgo is on, or a target is named outright. The fix is there where Go knows the target already. Rust
needs the target installed (`rustup target add`) and a linker for it; `xx` has both.

## References
- https://docs.docker.com/build/building/multi-platform/#cross-compilation
- https://github.com/tonistiigi/xx
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.scope import possible_bases, shipped_stages
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.toolchains import compilations
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "emulated-build-step"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.CACHE
_PLATFORM = re.compile(r"(?<![A-Za-z0-9_])(?:TARGETARCH|TARGETPLATFORM|BUILDPLATFORM|BUILDARCH)(?![A-Za-z0-9_])")
_MANNER = {
    "go": "GOOS=$TARGETOS GOARCH=$TARGETARCH",
    "cargo": "--target for $TARGETPLATFORM",
}
_TARGET = re.compile(r"[\"']?\$(?:TARGETARCH|\{TARGETARCH\})[\"']?")
_USED = ("ADD", "ARG", "COPY", "ENV", "FROM", "RUN")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the stages that compile, in files for several platforms."""
    if len(dockerfile.stages) < 2 or not _is_for_several(dockerfile):
        return
    shipped = shipped_stages(dockerfile)
    told: set[int] = set()
    placed: set[int] = set()  # the stages that have a platform, or start from one that has
    for stage in dockerfile.stages:
        if stage.platform or (stage.bases and placed.issuperset(stage.bases)):
            placed.add(stage.index)
        first = _first(dockerfile, stage)
        if stage.index in shipped or first.index in told or stage.index in placed:
            continue
        found = next((item for item in compilations(dockerfile, stage) if item[1] in _MANNER), None)
        if found is None or first.image is None:
            continue
        run, tool, shown, place = found
        command = next(item for item in run.script.commands if run.span(item.span) == place)
        known = _known(run, command)
        if _is_bound(tool, known, command):
            continue
        told.add(first.index)
        message = (
            f"`{shown}` runs under emulation for other platforms: FROM --platform=$BUILDPLATFORM, and {_MANNER[tool]}"
        )
        fix = _fix(dockerfile, first) if tool == "go" and _is_ready(known) else None
        yield Finding(NAME, message, dockerfile.source, first.image.span, SEVERITY, CATEGORY, ALIASES, fix)


def _fix(dockerfile: Dockerfile, first: Stage) -> Fix | None:
    """The platform in FROM, where it names an image and no other stage starts from the same."""
    children = sum(first.index in possible_bases(dockerfile, stage) for stage in dockerfile.stages)
    if children > 1 or first.image is None or possible_bases(dockerfile, first):
        return None
    start = first.image.span.start
    edit = Edit(Span(start, start), "--platform=$BUILDPLATFORM ")
    return Fix("build on the builder's platform", (edit,), safe=False)


def _is_for_several(dockerfile: Dockerfile) -> bool:
    """Whether some instruction speaks of platforms; comments do not count."""
    return any(
        instruction.actual.keyword in _USED and _PLATFORM.search(instruction.logical.text)
        for instruction in dockerfile.instructions
    ) or any(
        _PLATFORM.search(heredoc.body.text)
        for instruction in dockerfile.instructions
        for heredoc in instruction.actual.heredocs
    )


def _first(dockerfile: Dockerfile, stage: Stage) -> Stage:
    """The stage that a stage's chain starts with."""
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
    return stage


def _known(run: Run, command: Command) -> dict[str, str]:
    """The variables that a compile sees, as they are written where they hold others."""
    settings = {item.name: item.value.raw for item in command.environment}
    for other in run.script.commands:
        if not other.words:
            settings |= {item.name: item.value.raw for item in other.assignments}
        if other.name == "export":
            settings |= dict(word.raw.split("=", 1) for word in other.arguments if "=" in word.raw)
    written = {name: value or "$" for name, value in run.scope.env.items()}
    for instruction in run.stage.instructions:
        if instruction.keyword == "ENV" and instruction.span < run.instruction.span:
            written |= {pair.key.text: pair.value.text for pair in instruction.pairs if pair.value is not None}
    return written | settings


def _is_ready(known: dict[str, str]) -> bool:
    """Whether Go is told the target already, and needs nothing of C."""
    return _TARGET.fullmatch(known.get("GOARCH", "")) is not None and known.get("CGO_ENABLED", "").strip("\"'") == "0"


def _is_bound(tool: str, known: dict[str, str], command: Command) -> bool:
    """Whether a compile needs the platform that it runs on, or is for one platform only."""
    if tool == "go":
        architecture = known.get("GOARCH", "")
        return known.get("CGO_ENABLED", "").strip("\"'") == "1" or bool(architecture and "$" not in architecture)
    return any(word.raw.startswith("--target=") and "$" not in word.raw for word in command.arguments) or any(
        word.raw == "--target" and following.text is not None
        for word, following in zip(command.arguments, command.arguments[1:], strict=False)
    )
