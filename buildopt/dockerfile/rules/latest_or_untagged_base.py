"""A base image without a version.

## What it does
Finds FROM with no tag, or with the tag `latest`, and no digest.

## Why
The base is then whatever was pushed last: a build may change or break without any change of yours, and an old version
of your image cannot be built again.

## Example
```dockerfile
FROM node
FROM python:latest
```

## Use instead
```dockerfile
FROM node:22-bookworm-slim
FROM python:3.13-slim@sha256:…
```

## References
- https://docs.docker.com/build/building/best-practices/#pin-base-image-versions
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "latest-or-untagged-base"
ALIASES = ("DL3006", "DL3007")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every base that comes from a registry."""
    for stage, instruction, scope in walk(dockerfile):
        if instruction is not stage.origin or stage.image is None or stage.base_index is not None:
            continue
        expanded = scope.expand(stage.image.text)
        image = "" if expanded is None else expanded.text
        if not image or image == "scratch" or "@" in image or dockerfile.stage(image, stage.index) is not None:
            continue
        last = image.rsplit("/", 1)[-1]
        name, colon, tag = last.partition(":")
        if colon and tag != "latest":
            continue
        problem = "the tag latest moves" if colon else f"{name} has no tag"
        message = f"{problem}: name a version, so that the build stays the same"
        yield Finding(NAME, message, dockerfile.source, stage.image.span, SEVERITY, CATEGORY, ALIASES)
