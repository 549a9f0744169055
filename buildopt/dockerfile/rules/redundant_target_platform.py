"""`FROM --platform=$TARGETPLATFORM`.

## What it does
Finds stages that ask for the target platform, which is what they get without asking.

## Why
A flag that changes nothing makes readers look for what it changes.

## Example
```dockerfile
FROM --platform=$TARGETPLATFORM alpine:3.20
```

## Use instead
```dockerfile
FROM alpine:3.20
```

## References
- https://docs.docker.com/reference/build-checks/redundant-target-platform/
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

NAME = "redundant-target-platform"
ALIASES = ("DL3065", "RedundantTargetPlatform")
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
_TARGET = "TARGETPLATFORM"
_PLAIN = re.compile(r"--platform=(?:\$TARGETPLATFORM|\$\{TARGETPLATFORM\})")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the platform of every stage."""
    source = dockerfile.source
    for stage in dockerfile.stages:
        flag = stage.platform
        if flag is None or not flag.value or _TARGET not in flag.value or stage.origin.problems:
            continue
        values = global_arguments(dockerfile).values
        result = expand(flag.value, values, dockerfile.escape)
        if result.used != {_TARGET} or result.missing or result.text != values.get(_TARGET):
            continue
        # hadolint knows the two plain ways to write it.
        aliases = ALIASES if _PLAIN.fullmatch(source.text[flag.span.start : flag.span.end]) else ALIASES[1:]
        message = "--platform=$TARGETPLATFORM is what FROM does anyway: leave it out"
        fix = _fix(dockerfile, flag.span)
        yield Finding(NAME, message, source, flag.span, SEVERITY, CATEGORY, aliases, fix)


def _fix(dockerfile: Dockerfile, flag: Span) -> Fix | None:
    """Take the flag out, with the blanks behind it; None where somebody gave the variable another meaning."""
    declared = (pair.key.text for instruction in dockerfile.global_args for pair in instruction.pairs)
    if _TARGET in declared:
        return None
    text, end = dockerfile.source.text, flag.end
    while text[end : end + 1] in (" ", "\t"):
        end += 1
    return Fix("leave out --platform", (Edit(Span(flag.start, end), ""),))
