"""Compile on the builder's own platform for the one that is asked for.

What it does
------------
Gives a build stage that compiles Go ``FROM --platform=$BUILDPLATFORM``, and its ``go build`` the target:
``GOOS=$TARGETOS GOARCH=$TARGETARCH`` (and ``GOARM``, where the project builds for 32-bit ARM), with the ARG for them
right above. A stage that builds a bundle or a static site with Node.js gets the platform alone, as what it makes has
none.

Where one platform is built, nothing changes: it is the builder's own, or the same program is made for it.

It is refused where the result may depend on the platform that a command runs on: cgo (CGO_ENABLED=0 must be in
force), programs that are run or installed by ``go install``, tests and generators, flags that need the target's tools,
``uname`` and its like, what is downloaded or copied out and belongs to a platform, modules that are copied out. Rust
and C need a cross toolchain in the stage, so they are left alone.

Why
---
For every platform but its own a builder runs the compiler through QEMU, which takes five to twenty times as long. Go
makes programs for any platform on any platform.

Example
-------
::

    FROM golang:1.22 AS build
    WORKDIR /src
    COPY . .
    RUN CGO_ENABLED=0 go build -o /app .

    FROM scratch
    COPY --from=build /app /app
    CMD ["/app"]

Use instead
-----------
::

    FROM --platform=$BUILDPLATFORM golang:1.22 AS build
    WORKDIR /src
    COPY . .
    ARG TARGETOS TARGETARCH
    RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .

    FROM scratch
    COPY --from=build /app /app
    CMD ["/app"]

References
----------
- https://docs.docker.com/build/building/multi-platform/#cross-compilation
- https://go.dev/doc/install/source#environment
"""

from __future__ import annotations

from pathlib import Path

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes import cross_go, cross_js
from buildopt.dockerfile.passes.cross_families import (
    PLATFORM_NAMES,
    Family,
    Ready,
    Taken,
    built_by_itself,
    families,
    movable,
    taken,
)
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.scope import shipped_stages
from buildopt.dockerfile.splits.splits import No
from buildopt.dockerfile.toolchains import compilations
from buildopt.source import Edit, Span

NAME = "cross_compile"
OPT_IN = False

_KINDS = {"golang": cross_go.ready, "node": cross_js.ready}
_NEEDS_TOOLS = {
    "cargo": "cargo needs the target's standard library and a linker for it: only xx or a cross toolchain has both",
    "make": "C needs a cross compiler and the target's libraries",
}


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Move what may be moved to the builder's platform; say why not where something compiles."""
    if len(dockerfile.stages) < 2:
        return PassResult()
    refused: list[Refusal] = []
    found: dict[int, Ready] = {}
    for family in families(dockerfile, context):
        try:
            ready = _ready(family)
        except No as no:
            refused.append(Refusal(NAME, no.line, no.reason))
            continue
        if ready is not None:
            found[family.root.index] = ready
    links = list(taken(dockerfile))
    while found:
        problems = ((index, _bad_link(ready, found, links)) for index, ready in found.items())
        index, problem = next(((index, problem) for index, problem in problems if problem is not None), (-1, None))
        if problem is None:
            break
        if not found.pop(index).helper:
            refused.append(Refusal(NAME, problem.line, problem.reason))
    applied = tuple(_change(ready) for _, ready in sorted(found.items()))
    return PassResult(applied, tuple(sorted(refused, key=lambda refusal: refusal.line)))


def _ready(family: Family) -> Ready | None:
    """What to do for a family by itself; None where it is no business of this pass. Raises No."""
    dockerfile, root = family.dockerfile, family.root
    shipped = shipped_stages(dockerfile)
    if root.platform is not None or root.image is None or "$" in root.image.text.rpartition(":")[0]:
        return None
    if dockerfile.stages[-1].index in family.indexes:
        return None
    kind = _KINDS.get(states(dockerfile)[root.origin.span.start].base.repository)
    if kind is None:
        _say_what_is_missing(family, shipped)
        return None
    ready = kind(family) if not family.indexes & shipped else None
    if ready is None:
        _say_who_ships(family, shipped)
        return None
    for instruction in dockerfile.global_args:
        for pair in instruction.pairs:
            if pair.key.text in PLATFORM_NAMES:
                raise No(instruction, f"{pair.key.text} is declared here, and may be anything")
    if any(stage.platform is not None for stage in family.stages):
        raise No(root.origin, "a stage that starts from it has a platform of its own")
    compose = built_by_itself(family)
    if compose:
        raise No(
            root.origin, f"{compose} builds a stage of it by itself, which must be for the platform that is asked for"
        )
    return ready


def _say_what_is_missing(family: Family, shipped: frozenset[int]) -> None:
    for stage in family.stages:
        if stage.index in shipped:
            continue
        for run, tool, _, _ in compilations(family.dockerfile, stage):
            if tool in _NEEDS_TOOLS:
                raise No(run.instruction, _NEEDS_TOOLS[tool])
            if tool == "go":
                raise No(run.instruction, "only the golang image is known to be there for every builder")


def _say_who_ships(family: Family, shipped: frozenset[int]) -> None:
    """Raise No where a stage compiles whose files get into an image whole."""
    stage = cross_go.go_stage(family)
    if stage is None or not family.indexes & shipped:
        return
    other = next(item for item in reversed(family.stages) if item.index in shipped)
    name = other.name or f"stage {other.index}"
    raise No(other.origin, f"{name} may be an image of its own, which must be for the platform that is asked for")


def _bad_link(ready: Ready, found: dict[int, Ready], links: list[Taken]) -> No | None:
    """What enters or leaves a family so that it may not move, given all others that would."""
    indexes = ready.family.indexes
    if ready.helper and not any(link.origin in indexes and link.stage.index not in indexes for link in links):
        return No(ready.family.root.origin, "nothing needs it there")
    moving = {index: other for other in found.values() for index in other.family.indexes}
    for link in links:
        if link.origin in indexes and link.stage.index not in indexes:
            reason = _leaving(ready, link, moving.get(link.stage.index))
        elif ready.mixed and link.stage.index in indexes and link.origin not in indexes | moving.keys():
            reason = f"what it takes from {_shown(ready, link.origin)} is for the platform that is asked for"
        else:
            continue
        if reason:
            return No(link.instruction, reason)
    return None


def _leaving(ready: Ready, link: Taken, consumer: Ready | None) -> str:
    """Why something may not be taken from a family that moves; ``consumer``: where it goes moves as well."""
    path = link.path
    if consumer is not None:
        for_target = path is None or any(_holds(path, output) for output in ready.outputs)
        return "a program for the target would be used on the builder's platform" if for_target else ""
    platform = link.stage.platform
    if platform is not None and (platform.value or "").strip("{}$") != "TARGETPLATFORM":
        return "the stage that takes its result has a platform of its own"
    if ready.mixed:
        return cross_js.leaves_plain(ready, link, ready.family.dockerfile)
    if path is None:
        return "what is copied out of it is not known"
    if path in ready.outputs or movable(path):
        return ""
    if path.startswith("/go/bin"):
        return f"`go install` puts a program for another platform elsewhere than {path}: use go build -o"
    return f"{path} may belong to the platform that compiles"


def _holds(path: str, output: str) -> bool:
    return output == path or output.startswith(f"{path.rstrip('/')}/") or path.startswith(f"{output}/")


def _shown(ready: Ready, index: int) -> str:
    stage = ready.family.dockerfile.stages[index]
    return stage.name or f"stage {index}"


def _change(ready: Ready) -> Change:
    root = ready.family.root
    assert root.image is not None
    start = root.image.span.start
    platform = Edit(Span(start, start), "--platform=$BUILDPLATFORM ")
    last = max((root.origin.lines[1], *ready.lines))
    return Change(NAME, ready.title, ready.why, (root.origin.lines[0], last), (platform, *ready.edits))
