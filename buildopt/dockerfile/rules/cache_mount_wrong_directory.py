"""A cache mount where nobody keeps a cache.

## What it does
Finds cache mounts on a folder that the package manager of their RUN does not use: `~` or `HOME` in a target, another
HOME, an image that moves the cache, the folder of another manager.

## Why
The manager downloads everything again and leaves it in the image; the mount stays empty.

## Example
```dockerfile
FROM node:22
RUN --mount=type=cache,target=~/.npm npm ci
```

## Use instead
```dockerfile
FROM node:22
RUN --mount=type=cache,target=/root/.npm npm ci
```
The fix is unsafe: the next build starts with an empty cache.

## References
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.cache_places import misplaced
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "cache-mount-wrong-directory"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CACHE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Report what is wrong with the places of mounts."""
    for item in misplaced(dockerfile):
        if not item.user:
            yield Finding(NAME, item.message, dockerfile.source, item.flag.span, SEVERITY, CATEGORY, ALIASES, item.fix)
