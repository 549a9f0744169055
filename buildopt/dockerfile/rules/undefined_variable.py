"""A variable that is not defined where it is used.

## What it does
Finds variables in ENV, LABEL, COPY, WORKDIR and other instructions that Docker expands, which nothing defines there.

## Why
Docker puts nothing in their place, and the build goes on with `COPY app- /app` or an empty label. Often an ARG was
written above FROM: it holds for FROM lines, and a stage that needs it must repeat `ARG NAME`. The same goes for
`TARGETARCH` and its kin. What the best-known base images define is known; with others, only what none would define is
looked at.

## Example
```dockerfile
ARG VERSION=1.0
FROM alpine:3.20
LABEL org.opencontainers.image.version=$VERSION
```

## Use instead
```dockerfile
ARG VERSION=1.0
FROM alpine:3.20
ARG VERSION
LABEL org.opencontainers.image.version=$VERSION
```

## References
- https://docs.docker.com/reference/build-checks/undefined-var/
- https://docs.docker.com/build/building/variables/#scoping
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from buildopt.dockerfile.expansions import Expanded, expansions
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.predefined import PLATFORM_ARGUMENTS, mistyped, nearest_name, renamed
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "undefined-variable"
ALIASES = ("UndefinedVar",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
# An image may well define one of these.
_OF_IMAGES = re.compile(r"(?:_VERSION|_HOME|PATH|_DIR|_URL|_ROOT)$|^(?:LANG|LANGUAGE|LC_ALL|HOME|USER|TZ|TERM|SHELL)$")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every text that is expanded."""
    if "$" not in dockerfile.source.text:
        return
    arguments = {pair.key.text for instruction in dockerfile.global_args for pair in instruction.pairs}
    fixes: dict[tuple[int, str], Fix | None] = {}
    for expanded in expansions(dockerfile):
        for name in expanded.undefined:
            if not _certain(name, expanded, arguments):
                continue
            fix = None
            if (name in arguments or name in PLATFORM_ARGUMENTS) and not expanded.triggered:
                # One ARG settles all that follow in the stage.
                key = (expanded.stage.index, name)
                fix = fixes[key] if key in fixes else fixes.setdefault(key, _declared(dockerfile, expanded, name))
            elif not expanded.triggered:
                fix = renamed(dockerfile.source, expanded.span, name, expanded.known.values)
            message = f"{name} is not defined here: {_advice(name, expanded, arguments)}"
            yield Finding(NAME, message, dockerfile.source, expanded.span, SEVERITY, CATEGORY, ALIASES, fix)


def _certain(name: str, expanded: Expanded, arguments: Iterable[str]) -> bool:
    """Whether the base cannot be what defines a variable."""
    if not expanded.known.inherits(name) or name in PLATFORM_ARGUMENTS:
        return True
    if expanded.known.inherited is not None:
        return False
    if name in arguments:
        image = expanded.stage.image.text if expanded.stage.image is not None else ""
        return _OF_IMAGES.search(name) is None and name not in image
    return mistyped(name, expanded.known.values) is not None


def _advice(name: str, expanded: Expanded, arguments: Iterable[str]) -> str:
    instruction = expanded.instruction
    if expanded.triggered:
        return f"an ONBUILD {instruction.keyword} of the base uses it"
    if name in arguments:
        return f"the ARG above FROM is for FROM only, repeat ARG {name} in this stage"
    if name in PLATFORM_ARGUMENTS:
        return f"write ARG {name} in this stage first"
    setting = [pair for pair in instruction.pairs if pair.key.text == name]
    if setting and any(pair.value is not None and pair.value.span == expanded.span for pair in setting):
        return "nothing sets it before, so leave it out of its own value"
    if setting:
        return f"the same {instruction.keyword} sets it, and its values see only what was there before"
    near = nearest_name(name, expanded.known.values)
    return f"did you mean {near}?" if near is not None else "declare it with ARG, or set it with ENV"


def _declared(dockerfile: Dockerfile, expanded: Expanded, name: str) -> Fix | None:
    """ARG above the instruction, and above the comments that belong to it."""
    source = dockerfile.source
    comments = [comment for comment in expanded.instruction.comments if not comment.inside]
    first = comments[0].span.start if comments else expanded.instruction.keyword_span.start
    start = source.line_start(source.position(first)[0])
    if start < expanded.stage.origin.span.end:
        return None
    keyword = expanded.instruction.keyword_span
    typed = "arg" if source.text[keyword.start : keyword.end].islower() else "ARG"
    edit = Edit(Span(start, start), f"{typed} {name}{source.newline}")
    return Fix(f"declare ARG {name}", (edit,), safe=False)
