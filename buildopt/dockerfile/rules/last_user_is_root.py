"""The image runs as root.

## What it does
Finds `USER root` (or `0`) where it is the last USER of a stage that ends up in an image.

## Why
Whoever breaks into the program is root in the container, and one mistake away from the host. The file switches users,
so somebody has thought about it: switching back was most likely forgotten.

## Example
```dockerfile
FROM node:22-slim
USER root
RUN apt-get update
CMD ["node", "server.js"]
```

## Use instead
```dockerfile
FROM node:22-slim
USER root
RUN apt-get update
USER node
CMD ["node", "server.js"]
```

## References
- https://docs.docker.com/build/building/best-practices/#user
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.scope import Scope, shipped_stages, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "last-user-is-root"
ALIASES = ("DL3002",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SECURITY


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last USER of every stage."""
    last: dict[int, tuple[Stage, Instruction, Scope]] = {}
    for step in walk(dockerfile):
        if step[1].keyword == "USER":
            last[step[0].index] = step
    ships = shipped_stages(dockerfile) if not settings.like_hadolint else frozenset(last)
    for stage, instruction, scope in last.values():
        user = instruction.arguments.text if settings.like_hadolint else _resolved(instruction, scope)
        if user.partition(":")[0] not in ("root", "0") or stage.index not in ships:
            continue
        span = instruction.words[0].span
        message = "the image runs as root: end with a USER that may do less"
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _resolved(instruction: Instruction, scope: Scope) -> str:
    """Who it is; empty where whoever builds decides."""
    user = scope.expand(instruction.words[0].text)
    return user.text if user is not None and scope.certain(user) else ""
