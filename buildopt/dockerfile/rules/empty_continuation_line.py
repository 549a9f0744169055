"""An empty line inside a continued instruction.

## What it does
Finds empty lines after a line that ends with the continuation character.

## Why
Docker reads over them today and says that it will not for ever. And they mislead: a `\\` that was left at the end of an
instruction takes the next one, after the empty line, for its continuation.

## Example
```dockerfile
RUN apk add --no-cache curl && \\

    apk add --no-cache jq
```

## Use instead
```dockerfile
RUN apk add --no-cache curl && \\
    apk add --no-cache jq
```

## References
- https://docs.docker.com/reference/build-checks/no-empty-continuation/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "empty-continuation-line"
ALIASES = ("NoEmptyContinuation",)
SEVERITY = Severity.WARNING
CATEGORY = Category.STYLE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every instruction, those too that make no sense."""
    for instruction in dockerfile.instructions:
        if instruction.blanks:
            count = len(instruction.blanks)
            what = "an empty line" if count == 1 else f"{count} empty lines"
            message = f"{what} inside a continued {instruction.keyword}: take out what is empty"
            fix = Fix("remove empty lines", tuple(_edits(dockerfile, instruction)))
            span = instruction.blanks[0]
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _edits(dockerfile: Dockerfile, instruction: Instruction) -> Iterator[Edit]:
    """Remove the blank lines with their line breaks, neighbours in one go."""
    text = dockerfile.source.text
    start = end = -1
    for blank in instruction.blanks:
        newline = text.find("\n", blank.end)
        behind = len(text) if newline < 0 else newline + 1
        if blank.start == end:
            end = behind
            continue
        if start >= 0:
            yield Edit(Span(start, end), "")
        start, end = blank.start, behind
    yield Edit(Span(start, end), "")
