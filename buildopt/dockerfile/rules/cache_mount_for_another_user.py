"""A cache mount in another user's home folder, or one that the user cannot write.

## What it does
Finds cache mounts on the cache of a package manager that runs as another user than the one whose folder it is, and
those that belong to root while the RUN does not.

## Why
The manager looks in the home folder of its own user. And a cache mount that says no uid belongs to root: other users
cannot write into it, so the manager fails or works without a cache.

## Example
```dockerfile
FROM node:22
USER node
RUN --mount=type=cache,target=/root/.npm npm ci
```

## Use instead
```dockerfile
FROM node:22
USER node
RUN --mount=type=cache,target=/home/node/.npm,uid=1000,gid=1000 npm ci
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

NAME = "cache-mount-for-another-user"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CACHE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Report what is wrong with the places of mounts."""
    for item in misplaced(dockerfile):
        if item.user:
            yield Finding(NAME, item.message, dockerfile.source, item.flag.span, SEVERITY, CATEGORY, ALIASES, item.fix)
