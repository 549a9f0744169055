"""MAINTAINER.

## What it does
Finds the MAINTAINER instruction.

## Why
It is deprecated since Docker 1.13 and writes a field that hardly any tool shows. A label can be read, searched and
overridden like any other.

## Example
```dockerfile
FROM alpine:3.20
MAINTAINER Ada <ada@example.com>
```

## Use instead
```dockerfile
FROM alpine:3.20
LABEL org.opencontainers.image.authors="Ada <ada@example.com>"
```

## References
- https://docs.docker.com/reference/build-checks/maintainer-deprecated/
- https://github.com/opencontainers/image-spec/blob/main/annotations.md
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "deprecated-maintainer"
ALIASES = ("DL4000", "MaintainerDeprecated")
SEVERITY = Severity.WARNING
CATEGORY = Category.STYLE
_LABEL = "org.opencontainers.image.authors"


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every MAINTAINER."""
    for instruction in dockerfile.instructions:
        if instruction.keyword == "MAINTAINER" and not instruction.problems:
            message = f"MAINTAINER is deprecated: use LABEL {_LABEL}"
            fix = None if any(comment.inside for comment in instruction.comments) else _fix(dockerfile, instruction)
            span = instruction.keyword_span
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _fix(dockerfile: Dockerfile, instruction: Instruction) -> Fix:
    name = instruction.words[0].text
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" and name[0] not in name[1:-1]:
        name = name[1:-1]
    # MAINTAINER takes its text as it is; in a label these three would mean something.
    for char in (dockerfile.escape, '"', "$"):
        name = name.replace(char, dockerfile.escape + char)
    keyword = instruction.keyword_span
    typed = dockerfile.source.text[keyword.start : keyword.end]
    span = Span(keyword.start, instruction.words[0].span.end)
    return Fix("use a label", (Edit(span, f'{"label" if typed.islower() else "LABEL"} {_LABEL}="{name}"'),))
