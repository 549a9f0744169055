"""Packages of apk without a version.

## What it does
Finds `apk add name` without `=version` or another comparison.

## Why
The same Dockerfile installs something else next month: a version makes a build tell of a change instead of taking it
in. Weigh it: Alpine's repositories hold one version of each package, and as soon as there is a newer one a build with
an exact pin fails. That is why it is only a note. `~=` and a pinned release of Alpine (`alpine:3.22`) fail less often.

## Example
```dockerfile
RUN apk add --no-cache nginx
```

## Use instead
```dockerfile
RUN apk add --no-cache nginx~=1.28
```

## References
- https://wiki.alpinelinux.org/wiki/Alpine_Package_Keeper#Package_pinning
- https://docs.docker.com/build/building/best-practices/#version-pinning
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

NAME = "unpinned-apk-package"
ALIASES = ("DL3018",)
SEVERITY = Severity.INFO
CATEGORY = Category.CORRECTNESS
# A comparison, a file; `!name` keeps a package away, `.name` is a group of --virtual, `so:name` is provided.
_FIXED = re.compile(r".*[=~<>/:].*|.*\.apk|[!.].*", re.DOTALL)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    for run, command, names in unpinned(dockerfile, settings, _ours, _theirs):
        message = f"{names} no version: pin it as name=version or name~=version"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.tool == "apk" and call.action == "add":
        yield from (word for word, text in literal(call.operands) if not _FIXED.fullmatch(text))


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if item.runs(("apk",), ("add",)):
        for text in item.operands(("t", "virtual", "X", "repository")):
            if text != "add" and not (any(sign in text for sign in "=~<>") or text.endswith(".apk")):
                yield text
