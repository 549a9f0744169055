"""A base image without a digest.

## What it does
Finds FROM and COPY --from with an image of a registry that is named by its tag alone.

## Why
Whoever may push to a repository can move its tags: a build from the same Dockerfile may start from other bytes
tomorrow, with or without anybody's ill will. A digest names the very image that was tested; bots such as Renovate and
Dependabot keep it up to date. Many teams rather take every security update of a tag at once, so only the profile
`strict` has this rule.

## Example
```dockerfile
FROM node:22-bookworm-slim
```

## Use instead
```dockerfile
FROM node:22-bookworm-slim@sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d
```
`buildx imagetools inspect node:22-bookworm-slim` shows the digest.

## References
- https://docs.docker.com/build/building/best-practices/#pin-base-image-versions
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-base-digest"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.SECURITY
STRICT = True


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the images that stages start from and copy from."""
    for stage, outer, scope in walk(dockerfile):
        word, span = None, outer.span
        source = outer.actual.flag("from") if outer.actual.keyword == "COPY" else None
        if outer is stage.origin and stage.image is not None and stage.base_index is None:
            word, span = stage.image.text, stage.image.span
        elif source is not None and source.value is not None and source.value_span is not None:
            # A name without a tag and folder may be that of another build context.
            word, span = source.value if "/" in source.value or ":" in source.value else None, source.value_span
        expanded = scope.expand(word) if word is not None else None
        image = "" if expanded is None else expanded.text
        if not image or image == "scratch" or "@" in image or dockerfile.stage(image, stage.index) is not None:
            continue
        message = f"{' '.join(image.split())} can be another image tomorrow: add its digest (@sha256:…)"
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
