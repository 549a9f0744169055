"""An image that does not say where its sources are.

## What it does
Finds files whose last stage has no label `org.opencontainers.image.source`.

## Why
GHCR links a package to its repository by this label: with it the package has the repository's page, its people and its
permissions. Scanners and update tools read it too. Whoever sets it with `--label` when building does not need this
rule.

## Example
```dockerfile
FROM debian:12
CMD ["app"]
```

## Use instead
```dockerfile
FROM debian:12
LABEL org.opencontainers.image.source=https://github.com/acme/app
CMD ["app"]
```

## References
- https://docs.github.com/en/packages/learn-github-packages/connecting-a-repository-to-a-package
- https://specs.opencontainers.org/image-spec/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.labels import labels, stages_without
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "missing-image-source-label"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.STYLE
STRICT = True
_KEY = "org.opencontainers.image.source"


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last stage."""
    having = {label.stage: True for label in labels(dockerfile) if label.key == _KEY}
    if len(dockerfile.stages) - 1 in stages_without(dockerfile, having):
        span = dockerfile.stages[-1].origin.span
        message = f"no label {_KEY}: GHCR cannot link this image to its repository"
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
