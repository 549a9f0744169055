"""FROM with a platform that is written out.

## What it does
Finds `FROM --platform=` with a constant, unless the stage's name says which platform it is for.

## Why
Such a stage is of that one platform, whatever the build is asked for: an image for arm64 may end up with programs for
amd64. A stage that is meant so can say it in its name.

## Example
```dockerfile
FROM --platform=linux/amd64 golang:1.23 AS build
```

## Use instead
```dockerfile
FROM --platform=$BUILDPLATFORM golang:1.23 AS build
```
or nothing at all, where the stage runs on the target, or `AS build-amd64`, where one platform is meant.

## References
- https://docs.docker.com/reference/build-checks/from-platform-flag-const-disallowed/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.predefined import global_arguments
from buildopt.dockerfile.words import expand
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "constant-platform-in-from"
ALIASES = ("FromPlatformFlagConstDisallowed", "DL3029")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_SYSTEMS = frozenset(
    (
        *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl"),
        *("netbsd", "openbsd", "plan9", "solaris", "windows", "zos"),
    )
)
_SYSTEM = re.compile(r"([a-z0-9_-]+)(?:\([a-z0-9_.%+-]*\))?")
_PART = re.compile(r"[a-z0-9_.-]+")
_SYSTEM_NAMES = {"macos": "darwin"}
_ARCHITECTURE_NAMES = {
    "i386": "386",
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_ARCHITECTURES = frozenset(
    (
        *("386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64"),
        *("mips64le", "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x"),
        *("sparc", "sparc64", "wasm"),
    )
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the platform of every stage; hadolint knows no stage names, and two variables by their names."""
    for stage in dockerfile.stages:
        flag = stage.platform
        if flag is None or not flag.value or stage.origin.problems:
            continue
        known = "BUILDPLATFORM" in flag.value or "TARGETPLATFORM" in flag.value
        result = expand(flag.value, global_arguments(dockerfile).values, dockerfile.escape)
        parts = None if result.error is not None or result.used or result.missing else _parts(result.text)
        constant = parts is not None and not any(part in (stage.name or "") for part in parts)
        if not constant and (known or not settings.like_hadolint):
            continue
        aliases = (*(ALIASES[:1] if constant else ()), *(() if known else ALIASES[1:]))
        message = (
            f"every build gets {result.text or flag.value} here: use $BUILDPLATFORM, or say so in the stage's name"
        )
        assert stage.image is not None
        edit = Edit(Span(flag.span.start, stage.image.span.start), "")
        fix = Fix("leave the platform to the build", (edit,), safe=False)
        yield Finding(NAME, message, dockerfile.source, flag.span, SEVERITY, CATEGORY, aliases, fix)


def _parts(text: str) -> tuple[str, str] | None:
    """System and architecture of a platform; None where it is none."""
    words = text.lower().split("/")
    first = _SYSTEM.fullmatch(words[0])
    if first is None or len(words) > 3 or not all(_PART.fullmatch(word) for word in words[1:]):
        return None
    system = _SYSTEM_NAMES.get(first[1], first[1])
    if len(words) > 1:
        return system, _ARCHITECTURE_NAMES.get(words[1], words[1])
    if system in _SYSTEMS:
        return system, "amd64"  # what BuildKit runs on stands in for it
    architecture = _ARCHITECTURE_NAMES.get(first[1], first[1])
    return ("linux", architecture) if architecture in _ARCHITECTURES else None
