"""A file that BuildKit refuses.

## What it does
Reports everything for which BuildKit would stop the build before it starts: unknown instructions and flags, wrong
numbers of arguments, heredocs without an end, a file without a stage.

## Why
Such a file cannot be built. The other rules still look at the instructions that are sound.

## Example
```dockerfile
FROM alpine:3.20
COPPY . /app
```

## Use instead
```dockerfile
FROM alpine:3.20
COPY . /app
```

## References
- https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "syntax-error"
ALIASES = ("DL1000",)
SEVERITY = Severity.ERROR
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """One finding for each problem of the parser."""
    for problem in dockerfile.errors:
        yield Finding(NAME, problem.message, dockerfile.source, problem.span, SEVERITY, CATEGORY, ALIASES)
