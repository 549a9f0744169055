"""Go programs without a version.

## What it does
Finds `go install path@latest` (`go run`, `go get`; `@main` and the like too), and a path of another module without any
version where no module is around whose go.mod could tell.

## Why
The newest version of the day goes into the image. The same Dockerfile makes something else next month, or nothing at
all (a new version wants a newer Go), and nobody changed a line. Go's module proxy keeps old versions, so a pin does not
break later.

## Example
```dockerfile
RUN go install golang.org/x/tools/cmd/goimports@latest
```

## Use instead
```dockerfile
RUN go install golang.org/x/tools/cmd/goimports@v0.38.0
```

## References
- https://go.dev/ref/mod#go-install
- https://go.dev/ref/mod#version-queries
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-go-tool"
ALIASES = ("DL3062",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_ACTIONS = ("install", "get", "run")
_MOVING = ("latest", "upgrade", "patch", "master", "main", "head", "trunk", "develop")
_SOURCES = re.compile(r"git\s+(?:\S+\s+)*clone|go\s+mod\s+init|go\.mod|\btar\s|\bunzip\s|\btype=bind|\bsvn\s|\bhg\s")
# The first part of another module's path is a host.
_FOREIGN = re.compile(r"[\w-]+(?:\.[\w-]+)+/")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every such command of every stage."""
    sourced = _first_sources(dockerfile)

    def ours(run: Run, call: Call) -> Iterator[Word]:
        return _ours(call, run.instruction.span.start > sourced.get(run.stage.index, run.instruction.span.end))

    for run, command, names in unpinned(dockerfile, settings, ours, _theirs):
        message = f"{names} no fixed version: name one as path@v1.2.3"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _first_sources(dockerfile: Dockerfile) -> dict[int, int]:
    """By stage, where the first sources come in, which may be those of a module."""
    found: dict[int, int] = {}
    for stage in dockerfile.stages:
        if stage.base_index in found:
            found[stage.index] = -1
            continue
        for instruction in stage.instructions:
            if instruction.actual.keyword in ("COPY", "ADD") or (
                instruction.actual.keyword == "RUN" and _SOURCES.search(instruction.actual.logical.text)
            ):
                # A RUN that fetches the sources may go on to build them.
                found[stage.index] = instruction.span.start - 1
                break
    return found


def _ours(call: Call, in_module: bool) -> Iterator[Word]:
    if call.tool != "go" or call.action not in _ACTIONS:
        return
    for word, text in literal(call.operands[:1] if call.action == "run" else call.operands):
        path, at, version = text.partition("@")
        unpinned_here = version.lower() in _MOVING if at else not in_module
        if unpinned_here and _FOREIGN.match(path) and not path.endswith(".go"):
            yield word


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if not item.runs(("go",), _ACTIONS):
        return
    words = [text for text in item.operands() if text not in (*_ACTIONS, "tool")]
    for text in words[:1] if "run" in item.words else words:
        if not text.startswith(("/", ".")) and ("@" not in text or text.endswith(("@latest", "@none"))):
            yield text
