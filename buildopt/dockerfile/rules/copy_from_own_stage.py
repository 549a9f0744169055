"""COPY from the stage that it stands in.

## What it does
Finds `COPY --from=` with the name or number of the same stage.

## Why
A stage cannot copy from itself while it is being made: the build stops. Another stage was meant, or `RUN cp`.

## Example
```dockerfile
FROM golang:1.23 AS build
COPY --from=build /src/app /app
```

## Use instead
```dockerfile
FROM golang:1.23 AS build
RUN cp /src/app /app
```

## References
- https://docs.docker.com/reference/dockerfile/#copy---from
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "copy-from-own-stage"
ALIASES = ("DL3023",)
SEVERITY = Severity.ERROR
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every COPY; hadolint compares names as they are typed, and no numbers."""
    for stage, instruction, _ in walk(dockerfile):
        flag = instruction.flag("from") if instruction.keyword == "COPY" else None
        if flag is None or not flag.value or flag.value_span is None:
            continue
        if settings.like_hadolint:
            words = stage.origin.words
            typed = dockerfile.source.text[flag.value_span.start : flag.value_span.end]
            own = len(words) == 3 and words[2].text == typed
        else:
            # An earlier stage of the same name is what it gets.
            earlier = dockerfile.stage(flag.value, max(stage.index, 0))
            own = flag.value.lower() in stage.names and earlier is None
        if own:
            message = f"a stage cannot copy from itself: name another one than {flag.value}, or use RUN cp"
            yield Finding(NAME, message, dockerfile.source, flag.value_span, SEVERITY, CATEGORY, ALIASES)
