"""One name for two stages.

## What it does
Finds stages that have the name of an earlier one, in whatever casing.

## Why
A name that is used twice means the stage that was last given it: a line that reads as if it were about one stage is
about another, and the earlier one can no longer be copied from, or built, by its name.

## Example
```dockerfile
FROM golang:1.23 AS build
FROM node:22 AS build
```

## Use instead
```dockerfile
FROM golang:1.23 AS server
FROM node:22 AS frontend
```

## References
- https://docs.docker.com/reference/build-checks/duplicate-stage-name/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "duplicate-stage-name"
ALIASES = ("DL3024", "DuplicateStageName")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Compare the names of all stages. hadolint tells casings of a name apart, BuildKit does not."""
    seen: set[str] = set()
    typed: set[str] = set()
    for stage in dockerfile.stages:
        if stage.name is None or stage.origin.problems:
            continue
        word = stage.origin.words[2]
        if stage.name in seen:
            aliases = ALIASES if word.text in typed else ALIASES[1:]
            message = f"there is a stage {stage.name} already: give this one a name of its own"
            yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, aliases)
        seen.add(stage.name)
        typed.add(word.text)
