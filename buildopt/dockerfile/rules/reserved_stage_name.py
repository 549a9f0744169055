"""A stage called `scratch` or `context`.

## What it does
Finds stages whose name is one of the two that mean something else.

## Why
`FROM scratch` begins with nothing, and `context` is the name of the build context. Where a stage has that name too, it
is hard to say which of the two a line means, and builds that replace contexts by name fail.

## Example
```dockerfile
FROM alpine:3.20 AS scratch
```

## Use instead
```dockerfile
FROM alpine:3.20 AS base
```

## References
- https://docs.docker.com/reference/build-checks/reserved-stage-name/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "reserved-stage-name"
ALIASES = ("DL3063", "ReservedStageName")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the name of every stage; hadolint knows the two in lower case only."""
    for stage in dockerfile.stages:
        if stage.name not in ("scratch", "context") or stage.origin.problems:
            continue
        word = stage.origin.words[2]
        message = f"{stage.name} means something else to a build: give the stage another name"
        aliases = ALIASES if word.text == stage.name else ALIASES[1:]
        yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, aliases)
