"""A label that is asked for and not there.

## What it does
Finds stages that become images and lack a label of `lint.labels` in buildopt.yaml. Without that table it finds nothing.

## Why
Whoever runs an image wants to know who made it, from what, and under which license; a team that relies on such labels
wants every image to have them.

## Example
```dockerfile
FROM debian:12
```

## Use instead
```dockerfile
FROM debian:12
LABEL org.opencontainers.image.licenses=MIT
```
The settings of this example are `labels: {org.opencontainers.image.licenses: spdx}`. A stage has the labels of the
stage that it starts from; those of a base image are not known.

## References
- https://specs.opencontainers.org/image-spec/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.labels import labels, stages_without
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "missing-label"
ALIASES = ("DL3049",)
SEVERITY = Severity.INFO
CATEGORY = Category.STYLE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look for each label that is wanted."""
    for key, _ in settings.labels:
        having = {label.stage: True for label in labels(dockerfile) if label.key == key}
        for index in stages_without(dockerfile, having):
            span = dockerfile.stages[index].origin.span
            message = f"the label {key} is missing in this image"
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
