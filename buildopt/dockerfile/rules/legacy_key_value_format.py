"""`ENV KEY value` with a blank instead of `=`.

## What it does
Finds ENV and LABEL in their old form.

## Why
The old form takes everything after the first blank for one value: a second `KEY value` on the line silently becomes a
part of the first. The form with `=` says where a value ends.

## Example
```dockerfile
ENV GREETING hello world
```

## Use instead
```dockerfile
ENV GREETING="hello world"
```

## References
- https://docs.docker.com/reference/build-checks/legacy-key-value-format/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Pair
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "legacy-key-value-format"
ALIASES = ("LegacyKeyValueFormat",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
_KEY = re.compile(r"[A-Za-z0-9_.\-/]+")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every ENV and LABEL, those behind ONBUILD too."""
    for outer in dockerfile.instructions:
        instruction = outer.actual
        if outer.problems or instruction.keyword not in ("ENV", "LABEL"):
            continue
        for pair in instruction.pairs:
            if pair.legacy:
                message = f"{instruction.keyword} {pair.key.text} should be followed by = instead of a blank"
                fix = _fix(dockerfile, outer, pair)
                aliases = ALIASES if instruction is outer else ()
                yield Finding(NAME, message, dockerfile.source, pair.key.span, SEVERITY, CATEGORY, aliases, fix)


def _fix(dockerfile: Dockerfile, outer: Instruction, pair: Pair) -> Fix | None:
    """The same value behind ``=``; None where quoting it is not plainly right."""
    if pair.value is None or _KEY.fullmatch(pair.key.text) is None:
        return None
    if any(comment.inside for comment in outer.comments):
        return None
    value, gap = pair.value, Span(pair.key.span.end, pair.value.span.start)
    if not re.search(r"\s", value.text):
        if value.text.endswith(dockerfile.escape):
            return None
        return Fix("use =", (Edit(gap, "="),))
    if any(char in value.text for char in "\"'" + dockerfile.escape):
        return None
    end = Span(value.span.end, value.span.end)
    return Fix("use = and quotes", (Edit(gap, '="'), Edit(end, '"')))
