"""An image without HEALTHCHECK.

## What it does
Finds stages that become images and have no HEALTHCHECK; `HEALTHCHECK NONE` is an answer too.

## Why
Docker and Swarm can tell by it whether the program still answers, not only whether it still runs. Kubernetes does not
look at it: this rule is for those who use the former.

## Example
```dockerfile
FROM debian:12
CMD ["app"]
```

## Use instead
```dockerfile
FROM debian:12
HEALTHCHECK CMD ["app", "--health"]
CMD ["app"]
```

## References
- https://docs.docker.com/reference/dockerfile/#healthcheck
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.labels import stages_without
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "missing-healthcheck"
ALIASES = ("DL3057",)
SEVERITY = Severity.INFO
CATEGORY = Category.CORRECTNESS
STRICT = True


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every stage that becomes an image."""
    having = {stage.index: True for stage, instruction, _ in walk(dockerfile) if instruction.keyword == "HEALTHCHECK"}
    for index in stages_without(dockerfile, having):
        span = dockerfile.stages[index].origin.span
        message = "this image has no HEALTHCHECK"
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
