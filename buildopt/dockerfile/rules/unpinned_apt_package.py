"""Packages of apt without a version.

## What it does
Finds `apt-get install name` without `=version`. It is silent where packages come from a snapshot of the archive
(snapshot.debian.org, snapshot.ubuntu.com), and for what is in a variable.

## Why
The same Dockerfile installs something else next month: a version makes a build tell of a change instead of taking it
in. Weigh it: mirrors of Debian and Ubuntu drop a version as soon as there is a newer one, and a build with a pin then
fails. That is why it is only a note. A snapshot of the archive fixes all versions at once, those of dependencies too.

## Example
```dockerfile
RUN apt-get update && apt-get install -y --no-install-recommends nginx && rm -rf /var/lib/apt/lists/*
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y --no-install-recommends nginx=1.22.* && rm -rf /var/lib/apt/lists/*
```

## References
- https://docs.docker.com/build/building/best-practices/#version-pinning
- https://snapshot.debian.org/
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

NAME = "unpinned-apt-package"
ALIASES = ("DL3008",)
SEVERITY = Severity.INFO
CATEGORY = Category.CORRECTNESS
_SNAPSHOT = re.compile(r"snapshot\.(?:debian|ubuntu)|repro-sources-list", re.IGNORECASE)
# A version, a release, a file; `name-` removes, `task^` is a task, `~n` and `?name` are patterns.
_FIXED = re.compile(r".*[=/].*|.*\.deb|.*[-^]|[~?!].*", re.DOTALL)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    if not settings.like_hadolint and _SNAPSHOT.search(dockerfile.source.text):
        return
    for run, command, names in unpinned(dockerfile, settings, _ours, _theirs):
        message = f"{names} no version: pin it as name=version, or take packages from a snapshot of the archive"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.tool in ("apt-get", "aptitude") and call.action == "install":
        yield from (word for word, text in literal(call.operands) if not _FIXED.fullmatch(text))


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if item.runs(("apt-get",), ("install",)):
        for text in item.operands(("t", "target-release")):
            if text != "install" and not ("=" in text or "/" in text or text.endswith(".deb")):
                yield text
