"""A cache of a package manager that builds may not share, shared.

## What it does
Finds cache mounts on the folders of apt, apk, dnf, yum, zypper and pacman without `sharing=locked`.

## Why
A cache mount is shared by default: builds that run at the same time, and the platforms of one build, write into it side
by side. These managers expect to be alone. apt does not wait for another one that holds its lock: it fails.

## Example
```dockerfile
RUN --mount=type=cache,target=/var/cache/apt apt-get update && apt-get install -y curl
```

## Use instead
```dockerfile
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked apt-get update && apt-get install -y curl
```

## References
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Flag
from buildopt.dockerfile.scope import mount_options, walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "cache-mount-without-lock"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.CACHE
_FOLDERS = {
    "/var/cache/apt": "apt",
    "/var/cache/apt/archives": "apt",
    "/var/lib/apt": "apt",
    "/var/lib/apt/lists": "apt",
    "/var/cache/apk": "apk",
    "/etc/apk/cache": "apk",
    "/var/cache/dnf": "dnf",
    "/var/cache/libdnf5": "dnf",
    "/var/cache/yum": "yum",
    "/var/cache/zypp": "zypper",
    "/var/cache/pacman": "pacman",
    "/var/cache/pacman/pkg": "pacman",
}


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the mounts of each RUN."""
    for _, instruction, scope in walk(dockerfile):
        actual = instruction.actual
        if actual.keyword != "RUN":
            continue
        for flag in actual.flags_named("mount"):
            options = mount_options(flag.value or "")
            if options["type"] != "cache" or options.get("sharing", "shared") != "shared":
                continue
            if {"ro", "readonly"} & options.keys():
                continue
            target = scope.expand(options.get("target", "").strip("\"'"))
            manager = _FOLDERS.get(posixpath.normpath(target.text)) if target is not None and target.text else None
            if manager is None:
                continue
            message = f"builds share this cache, but {manager} must be alone in it: add sharing=locked"
            edit = _edit(dockerfile, flag)
            fix = Fix("add sharing=locked", (edit,)) if edit is not None else None
            yield Finding(NAME, message, dockerfile.source, flag.span, SEVERITY, CATEGORY, ALIASES, fix)


def _edit(dockerfile: Dockerfile, flag: Flag) -> Edit | None:
    """Put the option behind the others, or in the place of `sharing=shared`; None where the value is written oddly."""
    text = dockerfile.source.text[flag.span.start : flag.span.end]
    if (flag.value or "").strip("\"'") not in text.replace('"', "").replace("'", ""):
        return None
    written = re.search(r"(?<![^,=\"'])(?<!id=)sharing=shared(?=[,\"']|$)", text)
    if written is not None:
        return Edit(Span(flag.span.start + written.start(), flag.span.start + written.end()), "sharing=locked")
    end = flag.span.end - (1 if text.endswith(('"', "'")) else 0)
    return Edit(Span(end, end), ",sharing=locked")
