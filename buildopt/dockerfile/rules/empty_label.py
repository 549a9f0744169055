"""A label that is asked for and has no value.

## What it does
Finds labels of `lint.labels` in buildopt.yaml whose value is empty.

## Why
The label is there for its value; an empty one is a template that was not filled in.

## Example
```dockerfile
LABEL org.opencontainers.image.licenses=""
```

## Use instead
```dockerfile
LABEL org.opencontainers.image.licenses="MIT"
```
The settings of this example are `labels: {org.opencontainers.image.licenses: spdx}`.

## References
- https://specs.opencontainers.org/image-spec/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.labels import labels
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "empty-label"
ALIASES = ("DL3051",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every label that is wanted."""
    wanted = {key for key, _ in settings.labels}
    for label in labels(dockerfile) if wanted else ():
        if label.key in wanted and label.value == "":
            message = f"the label {label.key} has no value"
            yield Finding(NAME, message, dockerfile.source, label.pair.span, SEVERITY, CATEGORY, ALIASES)
