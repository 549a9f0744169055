"""A label that nobody asked for.

## What it does
Finds labels that `lint.labels` in buildopt.yaml does not have, where `strict-labels: true` is set.

## Why
A team that has agreed on its labels sees misspelt ones, and ones that belong elsewhere.

## Example
```dockerfile
LABEL org.opencontainers.image.license=MIT
```

## Use instead
```dockerfile
LABEL org.opencontainers.image.licenses=MIT
```
The settings of this example are `labels: {org.opencontainers.image.licenses: spdx}` and `strict-labels: true`.

## References
- https://specs.opencontainers.org/image-spec/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.labels import Label, labels
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "superfluous-label"
ALIASES = ("DL3050",)
SEVERITY = Severity.INFO
CATEGORY = Category.STYLE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every key."""
    wanted = {key for key, _ in settings.labels}
    for label in labels(dockerfile) if settings.strict_labels else ():
        if label.key not in wanted:
            message = f"the label {label.key} is not among those that are agreed on"
            fix = _fix(dockerfile, label)
            yield Finding(NAME, message, dockerfile.source, label.pair.span, SEVERITY, CATEGORY, ALIASES, fix)


def _fix(dockerfile: Dockerfile, label: Label) -> Fix | None:
    """Take the pair out; with the last pair goes the instruction."""
    if any(comment.inside for comment in label.instruction.comments):
        return None
    pairs = label.instruction.pairs
    place = pairs.index(label.pair)
    if len(pairs) == 1:
        span = dockerfile.whole_lines(label.instruction)
    elif place:
        span = Span(pairs[place - 1].span.end, label.pair.span.end)
    else:
        span = Span(label.pair.span.start, pairs[1].span.start)
    return Fix("remove the label", (Edit(span, ""),), safe=False)
