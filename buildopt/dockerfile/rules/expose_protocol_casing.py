"""The protocol of EXPOSE in capitals.

## What it does
Finds `EXPOSE 80/TCP`, whose protocol is not in lower case.

## Why
Docker writes it in lower case into the image anyway; written so in the file too, both can be found and compared.

## Example
```dockerfile
EXPOSE 80/TCP
```

## Use instead
```dockerfile
EXPOSE 80/tcp
```

## References
- https://docs.docker.com/reference/build-checks/expose-proto-casing/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Word
from buildopt.dockerfile.ports import Port, parse_port
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "expose-protocol-casing"
ALIASES = ("ExposeProtoCasing",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every word of EXPOSE, with its variables resolved where they are known."""
    for _, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword != "EXPOSE":
            continue
        for word in instruction.words:
            if "/" not in word.text and "$" not in word.text:
                continue
            expanded = scope.expand(word.text)
            ports = [parse_port(text) for text in expanded.words] if expanded is not None else []
            for port in ports:
                if port.valid and port.protocol != port.protocol.lower():
                    aliases = ALIASES if instruction is outer else ()
                    message = f"{port.text} should have its protocol in lower case: {port.protocol.lower()}"
                    fix = _fix(dockerfile, word, port)
                    yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, aliases, fix)


def _fix(dockerfile: Dockerfile, word: Word, port: Port) -> Fix | None:
    """The protocol alone, where it stands in the word as it is."""
    typed = dockerfile.source.text[word.span.start : word.span.end]
    start = typed.rfind(f"/{port.protocol}") + 1
    if start == 0 or typed.count(f"/{port.protocol}") > 1:
        return None
    place = Span(word.span.start + start, word.span.start + start + len(port.protocol))
    return Fix(f"write {port.protocol.lower()}", (Edit(place, port.protocol.lower()),))
