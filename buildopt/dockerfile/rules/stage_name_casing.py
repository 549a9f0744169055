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
    for stage in dockerfile.stages:
        if stage.name is None or stage.origin.problems:
            continue
        word = stage.origin.words[2]
        if word.text != stage.name:
            message = f"the stage's name {word.text} should be in lower case"
            fix = Fix(f"write {stage.name}", tuple(_edits(dockerfile, stage)))
            yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, ALIASES, fix)


def _edits(dockerfile: Dockerfile, stage: Stage) -> Iterator[Edit]:
    """The name in lower case where it is given and wherever it is used."""
    lowered = str(stage.name)
    yield Edit(stage.origin.words[2].span, lowered)
    for later in dockerfile.stages[stage.index + 1 :]:
        if later.base_index == stage.index and later.image is not None and later.image.text != lowered:
            yield Edit(later.image.span, lowered)
        for instruction in later.instructions:
            for span, text in _references(dockerfile, instruction):
                if text.lower() == lowered and text != lowered and dockerfile.stage(text, later.index) is stage:
                    yield Edit(span, lowered)


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
