"""FROM with a variable that no ARG declares.

## What it does
Finds variables in FROM, in its image or platform, that are not declared before the first FROM.

## Why
FROM sees only the ARG instructions above the first FROM and what Docker defines itself (`TARGETARCH` and its kin). Any
other variable is empty there, and nobody can set it: `--build-arg` is about declared names.

## Example
```dockerfile
FROM alpine:${VERSION:-3.20}
```

## Use instead
```dockerfile
ARG VERSION=3.20
FROM alpine:${VERSION}
```

## References
- https://docs.docker.com/reference/build-checks/undefined-arg-in-from/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.predefined import GlobalArguments, global_arguments, nearest_name, renamed
from buildopt.dockerfile.words import expand
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "undefined-argument-in-from"
ALIASES = ("UndefinedArgInFrom",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at image and platform of every stage."""
    source = dockerfile.source
    for stage in dockerfile.stages:
        if "$" not in source.text[stage.origin.span.start : stage.origin.span.end] or stage.origin.problems:
            continue
        known = global_arguments(dockerfile)
        for span, name in _undeclared(stage, known, dockerfile.escape):
            near = nearest_name(name, known.declared)
            advice = f"did you mean {near}?" if near is not None else "declare it with ARG above the first FROM"
            message = f"{name} is not declared for FROM: {advice}"
            fix = renamed(source, span, name, known.declared)
            yield Finding(NAME, message, source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _undeclared(stage: Stage, known: GlobalArguments, escape: str) -> Iterator[tuple[Span, str]]:
    if stage.image is not None:
        missing = expand(stage.image.text, known.values, escape).missing
        yield from ((stage.image.span, name) for name in sorted(missing.difference(known.declared)))
    if stage.platform is not None and stage.platform.value:
        missing = expand(stage.platform.value, known.values, escape).missing
        yield from ((stage.platform.span, name) for name in sorted(missing.difference(known.declared)))
