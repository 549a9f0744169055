"""COPY from a stage that is not there.

## What it does
Finds `COPY --from=` with a name that no stage before it has, or a number that is too high.

## Why
BuildKit then looks for an image of that name: a typing error or a stage that has moved becomes a download of somebody
else's image, in whatever version it has today, or an error about a registry. An image is meant? Give it a tag.

## Example
```dockerfile
FROM golang:1.23 AS build
FROM scratch
COPY --from=biuld /app /app
```

## Use instead
```dockerfile
FROM golang:1.23 AS build
FROM scratch
COPY --from=build /app /app
```
Images with a tag, a digest or a registry are fine, and so are build contexts whose names say so (with a dot or slash).

## References
- https://docs.docker.com/reference/dockerfile/#copy---from
- https://docs.docker.com/build/building/multi-stage/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Flag, Stage
from buildopt.dockerfile.predefined import nearest_name
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "copy-from-unknown-stage"
ALIASES = ("DL3022",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every COPY."""
    for stage, instruction, _ in walk(dockerfile):
        flag = instruction.flag("from") if instruction.keyword == "COPY" else None
        if flag is None or not flag.value or flag.value_span is None:
            continue
        if settings.like_hadolint:
            typed = dockerfile.source.text[flag.value_span.start : flag.value_span.end]
            problem = None if _known_to_hadolint(dockerfile, stage, typed) else f"no stage is called {typed}"
        else:
            problem = _problem(dockerfile, stage, flag.value)
        if problem is not None:
            fix = _fix(dockerfile, stage, flag)
            message = f"{problem}: name a stage above, or an image with its tag"
            yield Finding(NAME, message, dockerfile.source, flag.value_span, SEVERITY, CATEGORY, ALIASES, fix)


def _known_to_hadolint(dockerfile: Dockerfile, stage: Stage, name: str) -> bool:
    """It compares names as they are typed, and knows the stage itself."""
    if ":" in name:
        return True
    if name.isascii() and name.isdigit():
        return int(name) <= stage.index
    words = (other.origin.words for other in dockerfile.stages[: stage.index + 1])
    return any(len(parts) == 3 and parts[2].text == name for parts in words)


def _problem(dockerfile: Dockerfile, stage: Stage, name: str) -> str | None:
    if any(char in name for char in "/:@.$") or name.lower() in stage.names:
        return None
    if dockerfile.stage(name, max(stage.index, 0)) is not None:
        return None
    if name.isascii() and name.isdigit():
        return f"there is no stage {name} above"
    if dockerfile.stage(name) is not None:
        return f"the stage {name} comes later"
    return f"no stage is called {name}, so an image of that name is pulled"


def _fix(dockerfile: Dockerfile, stage: Stage, flag: Flag) -> Fix | None:
    """The name that was meant, most likely."""
    names = [other.name for other in dockerfile.stages[: max(stage.index, 0)] if other.name is not None]
    if not flag.value or flag.value_span is None or flag.value.isdigit() or dockerfile.stage(flag.value) is not None:
        return None
    near = nearest_name(flag.value, names)
    if near is None or _problem(dockerfile, stage, flag.value) is None:
        return None
    return Fix(f"copy from {near}", (Edit(flag.value_span, near),), safe=False)
