"""A package manager without a cache mount.

## What it does
Finds RUN instructions of package managers that could keep what they download in a cache mount. Only those are named
that `buildopt optimize` can give one: nothing that is built or started later misses what the mount keeps.

## Why
When a layer is built again, all of its downloads are made again. A cache mount keeps them on the builder, outside the
image: the next build downloads only what is new.

## Example
```dockerfile
FROM python:3.13
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
```

## Use instead
```dockerfile
FROM python:3.13
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \\
    pip install -r requirements.txt
```

## References
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes import cache_mounts
from buildopt.dockerfile.passes.strangers import left_alone
from buildopt.dockerfile.runs import runs
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "cache-mount-missing"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.CACHE
# The rewrite looks at every stage for every other one: more of them than anybody writes would take long.
_MOST_STAGES = 200
_TITLE = "cache mounts for "
_TARGET = re.compile(r"--mount=type=cache,(?:[^\s,]+,)*?target=([^\s,]+)")
_COMPILES = re.compile(r"\bgo\s+(?:\S+\s+)*?(?:build|install|test|run|vet|generate)\b")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Ask the pass what it would do."""
    if (
        len(dockerfile.stages) > _MOST_STAGES
        or dockerfile.errors
        or not runs(dockerfile)
        or left_alone(dockerfile) is not None
    ):
        return
    places = {instruction.lines: instruction for instruction in dockerfile.instructions}
    for change in cache_mounts.rewrite(dockerfile).applied:
        instruction = places.get(change.lines)
        if instruction is None or not change.title.startswith(_TITLE):
            continue
        targets = [target for edit in change.edits for target in _TARGET.findall(edit.text)]
        if all(target.endswith("/go-build") for target in targets) and not _COMPILES.search(instruction.arguments.text):
            continue
        names = change.title[len(_TITLE) :]
        shown = " and ".join(targets[:2])
        message = f"{names} could keep {shown} between builds in a cache mount: `buildopt optimize` adds it"
        span = instruction.keyword_span
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
