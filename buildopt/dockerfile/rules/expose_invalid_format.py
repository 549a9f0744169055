"""EXPOSE with what is no port of the container.

## What it does
Finds EXPOSE that names an address or a port of the host, and ports above 65535.

## Why
EXPOSE says which ports of the container a program listens on; which ports of the host lead there is decided when the
container starts (`docker run -p 8080:80`). Docker drops the part for the host, and there are no ports above 65535: a
build with one fails.

## Example
```dockerfile
EXPOSE 127.0.0.1:8080:80
```

## Use instead
```dockerfile
EXPOSE 80
```

## References
- https://docs.docker.com/reference/build-checks/expose-invalid-format/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Word
from buildopt.dockerfile.ports import HIGHEST, Port, parse_port
from buildopt.dockerfile.scope import Scope, walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "expose-invalid-format"
ALIASES = ("DL3011", "ExposeInvalidFormat")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every word of EXPOSE."""
    source = dockerfile.source
    for _, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword != "EXPOSE":
            continue
        if settings.like_hadolint:
            yield from _like_hadolint(dockerfile, outer)
            continue
        for word in instruction.words:
            for port in _ports(word, scope):
                if _too_high(port):
                    message = f"{port.text} is above the highest port, {HIGHEST}: name the port that is listened on"
                    yield Finding(NAME, message, source, word.span, Severity.ERROR, CATEGORY, ALIASES[:1])
                elif port.mapped and port.valid:
                    aliases = ALIASES[1:] if instruction is outer else ()
                    message = f"{port.text} names more than a port of the container, and Docker drops the rest"
                    fix = _fix(word, port)
                    yield Finding(NAME, message, source, word.span, SEVERITY, CATEGORY, aliases, fix)


def _like_hadolint(dockerfile: Dockerfile, instruction: Instruction) -> Iterator[Finding]:
    """One finding an instruction, none behind ONBUILD, and variables are not looked behind."""
    words = [word for word in instruction.words if instruction.trigger is None and "$" not in word.text]
    bad = next((word for word in words if _too_high(parse_port(word.text))), None)
    if bad is not None:
        message = f"{bad.text} is above the highest port, {HIGHEST}: name the port that is listened on"
        yield Finding(NAME, message, dockerfile.source, bad.span, Severity.ERROR, CATEGORY, ALIASES[:1])


def _ports(word: Word, scope: Scope) -> Iterator[Port]:
    """The ports that a word stands for."""
    expanded = scope.expand(word.text)
    if expanded is not None and expanded.error is None:
        yield from (parse_port(text) for text in expanded.words)


def _too_high(port: Port) -> bool:
    return any(number is not None and number > HIGHEST for number in (port.start, port.end))


def _fix(word: Word, port: Port) -> Fix | None:
    """What Docker keeps of it; None where quotes or variables are in the way."""
    if word.text != port.text:
        return None
    kept = port.text.rpartition(":")[2]
    cut = Span(word.span.start, word.span.end - len(kept))
    return Fix(f"write {kept}", (Edit(cut, ""),)) if word.span.end - word.span.start == len(word.text) else None
