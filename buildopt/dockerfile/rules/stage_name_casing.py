"""Capitals in a stage's name.

## What it does
Finds stages whose name is not in lower case.

## Why
Names in lower case stand out from the keywords around them. And while `COPY --from` takes a name in any casing, `FROM`
does not: it looks for an image of that name in a registry, and fails.

## Example
```dockerfile
FROM golang:1.23 AS Build
FROM alpine:3.20
COPY --from=Build /app /app
```

## Use instead
```dockerfile
FROM golang:1.23 AS build
FROM alpine:3.20
COPY --from=build /app /app
```

## References
- https://docs.docker.com/reference/build-checks/stage-name-casing/
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Flag, Instruction, Stage
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "stage-name-casing"
ALIASES = ("StageNameCasing",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
_FROM = re.compile(r"(?:^|,)\s*from=([^,]*)", re.IGNORECASE)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the name of every stage."""
    wrong = [stage for stage in dockerfile.stages if _is_wrong(stage)]
    uses = _uses(dockerfile) if wrong else {}
    for stage in wrong:
        word = stage.origin.words[2]
        message = f"the stage's name {word.text} should be in lower case"
        lowered = str(stage.name)
        edits = tuple(Edit(span, lowered) for span in (word.span, *uses.get(stage.index, ())))
        fix = Fix(f"write {lowered}", edits)
        yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, ALIASES, fix)


def _is_wrong(stage: Stage) -> bool:
    return stage.name is not None and not stage.origin.problems and stage.origin.words[2].text != stage.name


def _uses(dockerfile: Dockerfile) -> dict[int, list[Span]]:
    """Where later lines name each stage in another casing, by the stage's index."""
    found: dict[int, list[Span]] = defaultdict(list)
    newest: dict[str, int] = {}
    for stage in dockerfile.stages:
        names = [] if stage.image is None else [(stage.image.span, stage.image.text)]
        for instruction in stage.instructions:
            names += _references(dockerfile, instruction)
        for span, text in names:
            lowered = text.lower()
            if lowered != text and lowered in newest:
                found[newest[lowered]].append(span)
        if stage.name is not None:
            newest[stage.name] = stage.index
    return found


def _references(dockerfile: Dockerfile, instruction: Instruction) -> Iterator[tuple[Span, str]]:
    """Where an instruction names a stage to take files from."""
    if instruction.problems:
        return
    if instruction.keyword == "COPY":
        flag = instruction.flag("from")
        if flag is not None and flag.value and flag.value_span is not None and _plain(dockerfile, flag):
            yield flag.value_span, flag.value
    elif instruction.keyword == "RUN":
        for flag in instruction.flags_named("mount"):
            match = _FROM.search(flag.value or "")
            if match is not None and flag.value_span is not None and _plain(dockerfile, flag):
                start = flag.value_span.start
                yield Span(start + match.start(1), start + match.end(1)), match[1]


def _plain(dockerfile: Dockerfile, flag: Flag) -> bool:
    """Whether a flag's value stands in the source as it is: no quotes, no continuation."""
    span = flag.value_span
    return span is not None and dockerfile.source.text[span.start : span.end] == flag.value
