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

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.scope import Scope, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "latest-or-untagged-base"
ALIASES = ("DL3006", "DL3007")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_REGISTRY = re.compile(r"\A[^/]*\.[^/]*/")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every base that comes from a registry."""
    for stage, instruction, scope in walk(dockerfile):
        if instruction is not stage.origin or stage.image is None:
            continue
        if settings.like_hadolint:
            image = _as_hadolint(dockerfile, stage, stage.image.text)
        else:
            image = _registry_image(dockerfile, stage, scope)
        if image is None or image == "scratch" or "@" in image:
            continue
        last = image.rsplit("/", 1)[-1]
        name, colon, tag = last.partition(":")
        if colon and tag != "latest":
            continue
        problem = "the tag latest moves" if colon else f"{name} has no tag"
        message = f"{problem}: name a version, so that the build stays the same"
        aliases = ALIASES[1:] if colon else ALIASES[:1]
        yield Finding(NAME, message, dockerfile.source, stage.image.span, SEVERITY, CATEGORY, aliases)


def _registry_image(dockerfile: Dockerfile, stage: Stage, scope: Scope) -> str | None:
    """The image, its variables resolved; None where they are not known, and for an earlier stage."""
    expanded = None if stage.image is None or stage.base_index is not None else scope.expand(stage.image.text)
    if expanded is None or not expanded.text or dockerfile.stage(expanded.text, stage.index) is not None:
        return None
    return expanded.text


def _as_hadolint(dockerfile: Dockerfile, stage: Stage, image: str) -> str | None:
    """The image without its registry. It resolves nothing, and compares names of stages as they are typed."""
    image = _REGISTRY.sub("", image)
    name, colon, tag = image.partition(":")
    if colon:
        return f"{name.rsplit('/', 1)[-1]}:{tag.replace('/', '_')}"
    words = (other.origin.words for other in dockerfile.stages[: stage.index])
    known = image.startswith("$") or any(len(parts) == 3 and parts[2].text == image for parts in words)
    return None if known else image
