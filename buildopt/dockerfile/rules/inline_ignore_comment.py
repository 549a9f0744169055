"""A comment that silences a rule.

## What it does
Finds `# hadolint ignore=…` and `# buildopt ignore=…`, with and without `global`.

## Why
A team may want to decide about its exceptions in one place, which is reviewed: in the configuration. This rule is off
unless it is selected or the profile is `strict`.

## Example
```dockerfile
FROM alpine:3.20
# hadolint ignore=DL3018
RUN apk add --no-cache curl
```

## Use instead
```dockerfile
FROM alpine:3.20
RUN apk add --no-cache curl=8.9.1-r1
```

## References
- https://github.com/hadolint/hadolint#ignoring-rules
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.ignores import ignores_of
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "inline-ignore-comment"
ALIASES = ("DL1001",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
STRICT = True


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every comment that silences something; hadolint passes over global ones, and inner ones."""
    told: set[Span] = set()
    if settings.like_hadolint:
        told.update(comment.span for comment in dockerfile.comments if comment.inside)
    for ignore in ignores_of(dockerfile):
        if settings.like_hadolint and ignore.lines is None:
            continue
        if not ignore.directive and ignore.comment not in told:
            told.add(ignore.comment)
            message = "a comment silences rules here: mend what they find, or ignore them in the configuration"
            fix = Fix("remove the comment", (Edit(dockerfile.line_span(ignore.comment), ""),), safe=False)
            yield Finding(NAME, message, dockerfile.source, ignore.comment, SEVERITY, CATEGORY, ALIASES, fix)
