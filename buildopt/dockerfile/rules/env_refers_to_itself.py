"""A variable used in the ENV that sets it.

## What it does
Finds ENV with several pairs of which one uses a variable that another one sets, and that had no value before.

## Why
All values of one ENV are resolved before any of its variables is set: the reference is empty, or has the value that the
base image gave it.

## Example
```dockerfile
ENV APP_HOME=/opt/app APP_BIN=$APP_HOME/bin
```

## Use instead
```dockerfile
ENV APP_HOME=/opt/app
ENV APP_BIN=$APP_HOME/bin
```
The fix makes two instructions of the one; it is unsafe because the variable then has another value.

## References
- https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import walk
from buildopt.dockerfile.words import expand
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "env-refers-to-itself"
ALIASES = ("DL3044",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_REFERENCE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every ENV with several pairs."""
    # hadolint does not tell stages apart.
    everywhere = {pair.key.text for argument in dockerfile.global_args for pair in argument.pairs}
    for _, instruction, scope in walk(dockerfile):
        if instruction.keyword not in ("ENV", "ARG"):
            continue
        known = everywhere if settings.like_hadolint else scope.variables.keys()
        if instruction.keyword == "ENV" and len(instruction.pairs) > 1:
            yield from _references(dockerfile, instruction, known, settings)
        everywhere.update(pair.key.text for pair in instruction.pairs)


def _references(
    dockerfile: Dockerfile, instruction: Instruction, known: Collection[str], settings: LintSettings
) -> Iterator[Finding]:
    names = [pair.key.text for pair in instruction.pairs]
    for place, pair in enumerate(instruction.pairs):
        if pair.value is None or "$" not in pair.value.text:
            continue
        if settings.like_hadolint:
            used = _seen_by_hadolint(pair.value.text)
        else:
            result = expand(pair.value.text, {}, dockerfile.escape)
            used = set(result.used | result.missing)
        others = {*names[:place], *names[place + 1 :]}
        hit = next((name for name in sorted(others & used) if name not in known), None)
        if hit is None:
            continue
        fix = _fix(dockerfile, instruction, place) if hit in names[:place] else None
        message = f"{hit} is not set yet where this ENV uses it: set it in an earlier ENV"
        yield Finding(NAME, message, dockerfile.source, pair.span, SEVERITY, CATEGORY, ALIASES, fix)
        return


def _seen_by_hadolint(value: str) -> set[str]:
    """It knows the two plain forms only, in single quotes and behind a backslash too."""
    if value[0] in "\"'" and value[-1] != value[0]:
        return set()
    return {plain or braced for plain, braced in _REFERENCE.findall(value)}


def _fix(dockerfile: Dockerfile, instruction: Instruction, place: int) -> Fix | None:
    if any(comment.inside for comment in instruction.comments):
        return None
    keyword = dockerfile.source.text[instruction.keyword_span.start : instruction.keyword_span.end]
    between = Span(instruction.pairs[place - 1].span.end, instruction.pairs[place].span.start)
    edit = Edit(between, f"{dockerfile.source.newline}{keyword} ")
    return Fix("set it in an ENV of its own", (edit,), safe=False)
