"""Instructions in different casings.

## What it does
Finds keywords that are not written as most of the file's are: all upper case or all lower case.

## Why
Keywords are case-insensitive, but a file in one casing is easier to read, and to search.

## Example
```dockerfile
FROM alpine:3.20
run apk add curl
CMD ["curl"]
```

## Use instead
```dockerfile
FROM alpine:3.20
RUN apk add curl
CMD ["curl"]
```

## References
- https://docs.docker.com/reference/build-checks/consistent-instruction-casing/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import KEYWORDS, Dockerfile
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "inconsistent-instruction-casing"
ALIASES = ("ConsistentInstructionCasing",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Compare every keyword with the majority, in which ARG above the first FROM has no voice."""
    source = dockerfile.source
    first = dockerfile.stages[0].origin.span.start if dockerfile.stages else 0
    spans = [instruction.keyword_span for instruction in dockerfile.instructions if instruction.keyword in KEYWORDS]
    typed = [source.text[span.start : span.end] for span in spans]
    voices = [word for word, span in zip(typed, spans, strict=True) if span.start >= first]
    lower = sum(word.islower() for word in voices) > sum(word.isupper() for word in voices)
    for word, span in zip(typed, spans, strict=True):
        wanted = word.lower() if lower else word.upper()
        if word == wanted or len(wanted) != span.end - span.start:
            continue
        message = f"{word} is not in {'lower' if lower else 'upper'} case as most instructions here are"
        fix = Fix(f"write {wanted}", (Edit(span, wanted),))
        aliases = ALIASES if span.start >= first else ()
        yield Finding(NAME, message, source, span, SEVERITY, CATEGORY, aliases, fix)
