"""A Go program or module that is installed without a version.

## What it does
Finds `go install`, `go get` and `go run` of a path with `@latest`, `@main` or another version that moves, and of a path
without a version where no module could name one: before anything was copied into the stage.

## Why
Whatever is newest on the day of the build ends up in the image, so the same file builds different images, and a release
of somebody else breaks the build. Without a version and outside a module, `go install` fails altogether.

## Example
```dockerfile
FROM golang:1.25
RUN go install golang.org/x/tools/cmd/stringer@latest
```

## Use instead
```dockerfile
FROM golang:1.25
RUN go install golang.org/x/tools/cmd/stringer@v0.38.0
```
Packages of a module's own (`./cmd/server`, `./...`), files and the standard library need no version, nor does what
go.mod names.

## References
- https://go.dev/ref/mod#go-install
- https://go.dev/ref/mod#version-queries
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen, seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.scope import of_the_last_file, walk
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-go-tool"
ALIASES = ("DL3062",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_ACTIONS = ("install", "get", "run")
_MOVING = frozenset(("latest", "upgrade", "patch", "master", "main", "develop", "HEAD", "trunk", ""))
# A path of somebody else's module: its first part is a host.
_FOREIGN = re.compile(r"[A-Za-z0-9][\w-]*(?:\.[\w-]+)+/[^@\s]+")
_MODULES = re.compile(r"\bgo (?:mod|work)\b|go\.mod|\bclone\b")
_BRINGING = frozenset(("git", "hg", "svn", "tar", "unzip", "bsdtar"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""

    def ours(run: Run, call: Call) -> Iterator[Word]:
        if call.tool != "go" or call.action not in _ACTIONS or call.has("-mod", "-modfile", "-C"):
            return
        words = call.operands[:1] if call.action == "run" else call.operands
        in_module = run.instruction.span.start in _where_modules_are(dockerfile)
        yield from (word for word, text in literal(words) if _unpinned(text, in_module))

    for run, command, names in unpinned(dockerfile, settings, ours, _theirs):
        message = f"{names} no fixed version: name one, as in path@v1.2.3"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _unpinned(text: str, in_module: bool) -> bool:
    path, at, version = text.partition("@")
    if not _FOREIGN.fullmatch(path) or path.endswith(".go"):
        return False
    return version in _MOVING if at else not in_module


@of_the_last_file
def _where_modules_are(dockerfile: Dockerfile) -> frozenset[int]:
    """The starts of the instructions that may run inside a module: something brought files into the stage before."""
    found: set[int] = set()
    ends: set[int] = set()
    stage = -2
    brought = False
    scripts = {run.instruction.span.start: run.script for run in all_runs(dockerfile)}
    for current, outer, _ in walk(dockerfile):
        if current.index != stage:
            if brought:
                ends.add(stage)
            stage, brought = current.index, bool(current.bases) and ends.issuperset(current.bases)
        instruction = outer.actual
        text = instruction.logical.text
        if instruction.keyword in ("COPY", "ADD"):
            brought = True
        elif instruction.keyword == "RUN":
            script = scripts.get(instruction.span.start)
            names = {command.name for command in script.commands} if script is not None else _BRINGING
            unclear = instruction.heredocs or "type=bind" in text or _MODULES.search(text)
            brought = bool(brought or unclear or names & _BRINGING)
        if brought:
            found.add(instruction.span.start)
    return frozenset(found)


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if not item.runs(("go",), _ACTIONS):
        return
    if "run" in item.words:
        # The rest are arguments of the program.
        packages = [word for word in item.operands() if word != "run"][:1]
    elif any(other.runs(("go",), ("run",)) for other in seen(run)):
        return  # commands beside a `go run` are not looked at
    else:
        packages = [word for word in item.operands() if word not in (*_ACTIONS, "tool")]
    for text in packages:
        if not text.startswith((".", "/")) and ("@" not in text or text.endswith(("@latest", "@none"))):
            yield text
