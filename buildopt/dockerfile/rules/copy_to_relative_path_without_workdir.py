"""COPY to a place that the base image decides.

## What it does
Finds COPY and ADD to a relative path in a stage without WORKDIR.

## Why
The path is relative to the base image's working folder. That is / in most images and may be another one in the next
version of this base.

## Example
```dockerfile
FROM debian:12
COPY app.conf conf/
```

## Use instead
```dockerfile
FROM debian:12
WORKDIR /app
COPY app.conf conf/
```

## References
- https://docs.docker.com/reference/dockerfile/#workdir
- https://docs.docker.com/reference/dockerfile/#destination
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.scope import Scope, is_absolute, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "copy-to-relative-path-without-workdir"
ALIASES = ("DL3045",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_NOT_THE_NAME = re.compile(r"\A[^/]*\.[^/]*/|(?::[^/:@]*)?(?:@.*)?\Z")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every destination; triggers run in another image, which nobody knows."""
    settled: dict[int, bool] = {}  # by stage, whether it has a WORKDIR or starts from one that has
    names: set[str] = set()  # of stages with one, as hadolint takes them
    for stage, outer, scope in walk(dockerfile):
        if stage.index not in settled:
            own = bool(stage.bases) and all(settled.get(index, False) for index in stage.bases)
            settled[stage.index] = _image(stage) in names if settings.like_hadolint else own
        if outer.keyword == "WORKDIR":
            settled[stage.index] = True
        if settled[stage.index]:
            names.add(_typed_name(stage))
        if outer.keyword not in ("COPY", "ADD") or settled[stage.index] or len(outer.words) < 2:
            continue
        target = outer.words[-1]
        if settings.like_hadolint:
            relative = outer.keyword == "COPY" and not _absolute_for_hadolint(target.text)
        else:
            relative = _is_relative(target.text, scope)
        if relative:
            message = f"{target.text} is relative to a folder that the base image decides: set WORKDIR first"
            yield Finding(NAME, message, dockerfile.source, target.span, SEVERITY, CATEGORY, ALIASES)


def _image(stage: Stage) -> str:
    """The image's name without registry, tag and digest."""
    return "" if stage.image is None else _NOT_THE_NAME.sub("", stage.image.text)


def _typed_name(stage: Stage) -> str:
    """What a stage is called, as it is typed; its image's name where it is not called anything."""
    words = stage.origin.words
    return words[2].text if len(words) == 3 and stage.index >= 0 else _image(stage)


def _is_relative(text: str, scope: Scope) -> bool:
    if scope.workdir is not None:  # scratch: it is /
        return False
    expanded = scope.expand(text)
    return expanded is not None and bool(expanded.text) and not is_absolute(expanded.text)


def _absolute_for_hadolint(text: str) -> bool:
    bare = text.strip("\"'")
    return bare.startswith(("/", "$")) or (bare[:1].isalpha() and bare[1:2] == ":")
