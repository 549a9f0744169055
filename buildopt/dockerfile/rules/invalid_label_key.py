"""A label's key that does not follow the rules of keys.

## What it does
Finds keys of LABEL that have characters other than lower-case letters, digits, `.`, `-`, `_` and `/`, that do not begin
with a letter and end with a letter or digit, that repeat `.` or `-`, or that lie in the name spaces reserved for Docker.

## Why
Tools that read labels expect keys in this form: others are missed, or collide with Docker's own.

## Example
```dockerfile
LABEL Maintainer=me com.docker.team=a
```

## Use instead
```dockerfile
LABEL org.opencontainers.image.authors=me com.example.team=a
```

## References
- https://docs.docker.com/engine/manage-resources/labels/#key-format-recommendations
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.labels import labels
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "invalid-label-key"
ALIASES = ("DL3048",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
_KEY = re.compile(r"[a-z](?:[a-z0-9._/-]*[a-z0-9])?")
_RESERVED = ("com.docker.", "io.docker.", "org.dockerproject.")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every key."""
    for label in labels(dockerfile):
        key = label.key
        if "$" in key and not settings.like_hadolint:
            continue
        if key.startswith(_RESERVED):
            message = f"{key} lies in a name space of Docker: use one of your own"
        elif not _KEY.fullmatch(key) or ".." in key or "--" in key:
            message = f"{key} is no proper key: lower-case letters, digits and single . and - between them"
        else:
            continue
        yield Finding(NAME, message, dockerfile.source, label.pair.key.span, SEVERITY, CATEGORY, ALIASES)
