"""A file that BuildKit refuses.

## What it does
Reports everything for which BuildKit would stop the build before it starts: unknown instructions and flags, wrong
numbers of arguments, heredocs without an end, a file without a stage; and values that make it stop a moment later:
quotes and braces that are never closed, options of mounts, modes, ports and signals that do not exist.

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

from buildopt.dockerfile.model import Dockerfile, SyntaxProblem
from buildopt.dockerfile.refusals import refusals
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "syntax-error"
ALIASES = ("DL1000", "DL3043", "DL3061")
SEVERITY = Severity.ERROR
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """One finding for each problem of the parser, and for what would only fail once it is built."""
    stages = dockerfile.stages
    first = stages[0].origin.span.start if stages else len(dockerfile.source.text) + 1
    if settings.like_hadolint:
        yield from _homeless(dockerfile, first)
    for problem in dockerfile.errors:
        aliases = _names(problem, before_stages=problem.span.start < first)
        if settings.like_hadolint:
            aliases = tuple(name for name in aliases if name != "DL3061")
            if not aliases:
                continue
        yield Finding(NAME, problem.message, dockerfile.source, problem.span, SEVERITY, CATEGORY, aliases)
    if not settings.like_hadolint:
        for problem in refusals(dockerfile):
            yield Finding(NAME, problem.message, dockerfile.source, problem.span, SEVERITY, CATEGORY)


def _homeless(dockerfile: Dockerfile, first: int) -> Iterator[Finding]:
    """hadolint speaks of each instruction above FROM, and passes over a file that has nothing else than ARG."""
    for instruction in dockerfile.instructions:
        if instruction.span.start >= first:
            break
        if instruction.keyword != "ARG":
            span = instruction.keyword_span
            message = f"{instruction.keyword} stands before any FROM: a stage begins with FROM"
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES[-1:])


def _names(problem: SyntaxProblem, *, before_stages: bool) -> tuple[str, ...]:
    """hadolint's names: its parser takes triggers that BuildKit does not, and what stands before any FROM."""
    trigger = "ONBUILD" in problem.message
    homeless = before_stages and not problem.fatal
    return (
        *(("DL3043",) if trigger else () if homeless and "stage" in problem.message else ("DL1000",)),
        *(("DL3061",) if homeless else ()),
    )
