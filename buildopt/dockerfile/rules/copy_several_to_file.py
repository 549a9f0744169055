"""COPY of several files to what does not look like a folder.

## What it does
Finds COPY and ADD with several sources whose destination does not end with `/`.

## Why
Where the destination is no folder yet, BuildKit writes one file over the other and keeps the last; the classic builder
stops. With the slash it is a folder in every case.

## Example
```dockerfile
COPY package.json package-lock.json app
```

## Use instead
```dockerfile
COPY package.json package-lock.json app/
```
The destinations `.` and `..` are folders.

## References
- https://docs.docker.com/reference/dockerfile/#destination-1
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Word
from buildopt.dockerfile.scope import Scope, walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "copy-several-to-file"
ALIASES = ("DL3021",)
SEVERITY = Severity.ERROR
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every COPY and ADD; hadolint looks at COPY."""
    for _, instruction, scope in walk(dockerfile):
        if instruction.keyword not in ("COPY", "ADD") or len(instruction.words) < 3:
            continue
        word = instruction.words[-1]
        if settings.like_hadolint:
            file = not word.text.strip("\"'").endswith("/")
        else:
            file = _file(word, scope)
        if not file:
            continue
        message = f"several files go to {word.text}: end it with / to make it a folder"
        aliases = ALIASES if instruction.keyword == "COPY" else ()
        fix = _fix(dockerfile, instruction, word)
        yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, aliases, fix)


def _file(word: Word, scope: Scope) -> bool:
    expanded = scope.expand(word.text)
    if expanded is None or not expanded.text:
        return False
    path = expanded.text
    return not path.endswith(("/", "\\")) and path.rsplit("/", 1)[-1] not in (".", "..")


def _fix(dockerfile: Dockerfile, instruction: Instruction, word: Word) -> Fix | None:
    end = word.span.end
    quoted = dockerfile.source.text[end - 1] in "\"'"
    if "$" in word.text or word.text.strip("\"'").endswith(("\\", "`")) or (instruction.exec_form and not quoted):
        return None
    place = end - 1 if quoted else end
    return Fix("end it with /", (Edit(Span(place, place), "/"),))
