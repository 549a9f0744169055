"""A label's key that does not follow the rules of keys.

## What it does
Finds keys of LABEL that have characters other than lower-case letters, digits, `.`, `-`, `_` and `/`, that do not begin
with a letter and end with a letter or digit, that repeat `.` or `-`, or that lie in a name space of Docker.

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
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

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
        fix = None
        if key.startswith(_RESERVED):
            message = f"{key} lies in a name space of Docker: use one of your own"
        elif not _is_proper(key):
            written = label.pair.key
            if _is_proper(key.lower()) and written.text == key:
                fix = Fix(f"write {key.lower()}", (Edit(written.span, key.lower()),), safe=False)
            message = (
                f"{key} is not a proper label key: use lower-case letters and digits, with single . or - between them"
            )
        else:
            continue
        yield Finding(NAME, message, dockerfile.source, label.pair.key.span, SEVERITY, CATEGORY, ALIASES, fix)


def _is_proper(key: str) -> bool:
    return _KEY.fullmatch(key) is not None and ".." not in key and "--" not in key
