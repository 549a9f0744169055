"""zypper's cache left in an image.

## What it does
Finds a RUN that installs with `zypper` and does not end with a clean-up, in a stage that becomes an image.

## Why
The metadata of the repositories (some 50 MB) stay in /var/cache/zypp. They are of no use in an image: whoever installs
more fetches them anew. Removed by a later RUN they stay in the earlier layer. A cache mount keeps them between builds
and out of the image; this rule is then silent.

## Example
```dockerfile
RUN zypper -n install curl
```

## Use instead
```dockerfile
RUN zypper -n install curl && zypper clean -a
```
or, faster when something changes:
```dockerfile
RUN --mount=type=cache,target=/var/cache/zypp,sharing=locked zypper -n install curl
```

## References
- https://en.opensuse.org/SDB:Zypper_manual
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import mounts_from
from buildopt.dockerfile.leftovers import Keeper, clean_up, later_calls, left_for_hadolint, read_elsewhere
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "zypper-cache-left-in-image"
ALIASES = ("DL3036",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_CACHE = "/var/cache/zypp"
_INSTALLS = word_set("install in update up dist-upgrade dup patch source-install si install-new-recommends inr")
_ELSEWHERE = word_set(
    "-R --root --installroot -C --cache-dir --raw-cache-dir --pkg-cache-dir --dry-run --download-only -h --help"
)
_REMOVED = re.compile(r"\bvar/(?:\*|\{[^}]*\bcache\b|cache(?:/?$|/?\*|.*zypp))")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the installs of the stages that become images; hadolint does at all stages."""
    if settings.like_hadolint:
        for run in all_runs(dockerfile):
            command = _theirs(run)
            if command is not None:
                yield _finding(dockerfile, run, command, _KEEPER.left(run))
        return
    for run, filling in _KEEPER.shipped(dockerfile):
        if not run.mounted(_CACHE):
            yield _finding(dockerfile, run, filling.command, filling)


def _finding(dockerfile: Dockerfile, run: Run, command: Command, filling: Call | None) -> Finding:
    message = "the cache of zypper stays in this layer: end the RUN with `zypper clean -a`, or mount a cache"
    fix = None if filling is None else _fix(dockerfile, run, filling)
    return Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES, fix)


def _fix(dockerfile: Dockerfile, run: Run, filling: Call) -> Fix | None:
    if run.mounted(_CACHE) or any(later.has("--no-refresh", "-C") for later in later_calls(dockerfile, run)):
        return None
    safe = not read_elsewhere(dockerfile, run, _REMOVED)
    return clean_up(dockerfile, run, filling, "zypper clean -a", safe=safe)


def _fills(call: Call) -> bool:
    return call.tool == "zypper" and call.action in _INSTALLS and not call.has(*_ELSEWHERE)


def _cleans(call: Call) -> bool:
    return call.tool == "zypper" and call.action in ("clean", "cc")


_KEEPER = Keeper(_fills, _cleans, _REMOVED)


def _theirs(run: Run) -> Command | None:
    if mounts_from(run, _CACHE):
        return None
    return left_for_hadolint(
        run,
        lambda item: item.runs(("zypper",), ("install", "in")),
        lambda item: item.runs(("zypper",), ("clean", "cc")),
    )
