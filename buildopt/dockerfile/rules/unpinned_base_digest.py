"""A base image that may be another one tomorrow.

## What it does
Finds FROM and COPY --from of an image without a digest. Only in the profile `strict`, or where it is selected.

## Why
A tag can be moved: the same Dockerfile builds another image next week. A digest names one image for good. It also
keeps it without the fixes that the tag will get, so it needs somebody (or a bot) who updates it.

## Example
```dockerfile
FROM debian:12.11
```

## Use instead
```dockerfile
FROM debian:12.11@sha256:bd73076dc2cd9c88f48b5b358328f24f2a4289811bd73787c031e20db9f97123
```

## References
- https://docs.docker.com/build/building/best-practices/#pin-base-image-versions
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.scope import Scope, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "unpinned-base-digest"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SECURITY
STRICT = True


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the images that stages start from and copy from."""
    for stage, instruction, scope in walk(dockerfile):
        actual = instruction.actual
        span: Span | None = None
        if actual.keyword == "FROM" and stage.image is not None and stage.base_index is None:
            span = stage.image.span if _is_loose(dockerfile, stage, stage.image.text, scope) else None
        elif actual.keyword == "COPY":
            flag = actual.flag("from")
            # Without a slash or a colon it may be a build context of the same name.
            if flag is not None and flag.value and ("/" in flag.value or ":" in flag.value):
                span = flag.value_span if _is_loose(dockerfile, stage, flag.value, scope) else None
        if span is not None:
            message = "a tag may name another image tomorrow: add the digest (@sha256:…)"
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _is_loose(dockerfile: Dockerfile, stage: Stage, reference: str, scope: Scope) -> bool:
    """Whether an image is named without a digest; one that only the builder knows is not judged."""
    expanded = scope.expand(reference)
    if expanded is None or not expanded.text or dockerfile.stage(expanded.text, stage.index) is not None:
        return False
    return expanded.text != "scratch" and "@sha256:" not in expanded.text and "@sha512:" not in expanded.text
