"""CMD, ENTRYPOINT or HEALTHCHECK twice in a stage.

## What it does
Finds CMD, ENTRYPOINT and HEALTHCHECK that a later one of the same stage replaces.

## Why
Only the last one counts. Who reads the first, or changes it, is misled.

## Example
```dockerfile
CMD ["serve", "--port=80"]
CMD ["serve", "--port=8080"]
```

## Use instead
```dockerfile
CMD ["serve", "--port=8080"]
```

## References
- https://docs.docker.com/reference/build-checks/multiple-instructions-disallowed/
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "multiple-instructions"
ALIASES = ("DL4003", "DL4004", "DL3012", "MultipleInstructionsDisallowed")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_CODES = MappingProxyType({"CMD": "DL4003", "ENTRYPOINT": "DL4004", "HEALTHCHECK": "DL3012"})


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Compare each with the one before it in its stage. hadolint names the later, BuildKit the earlier of two."""
    seen: dict[tuple[int, str], Instruction] = {}
    for stage, instruction, _ in walk(dockerfile):
        code = _CODES.get(instruction.keyword)
        if code is None:
            continue
        earlier = seen.get((stage.index, instruction.keyword))
        seen[stage.index, instruction.keyword] = instruction
        if earlier is None:
            continue
        shown = instruction if settings.like_hadolint else earlier
        line = dockerfile.source.position(instruction.keyword_span.start)[0]
        message = f"this {instruction.keyword} has no effect, as line {line} replaces it: remove it"
        if settings.like_hadolint:
            message = f"the {instruction.keyword} before this one does nothing: remove it"
        aliases = (code, ALIASES[-1])
        fix = _fix(dockerfile, earlier)
        yield Finding(NAME, message, dockerfile.source, shown.keyword_span, SEVERITY, CATEGORY, aliases, fix)


def _fix(dockerfile: Dockerfile, instruction: Instruction) -> Fix | None:
    """Remove all lines of an instruction; None where comments would be left without what they are about."""
    if instruction.comments:
        return None
    return Fix(f"remove this {instruction.keyword}", (Edit(dockerfile.whole_lines(instruction), ""),))
