"""A comment above ARG or FROM that Docker takes for something else's description.

## What it does
Finds comments right above ARG, or above FROM with a name, that do not begin with the name of what they describe.

## Why
`docker build --call=outline` and `--call=targets` show such a comment as the description of the argument or stage, if
it begins with the name. Any other text there is lost to them; a bare `#` below sets it apart (an empty line does not).
Comments that tell a tool something, such as `# hadolint ignore=DL3006`, describe nothing and are passed over.

## Example
```dockerfile
# the version of the base
ARG VERSION=3.20
FROM alpine:${VERSION}
```

## Use instead
```dockerfile
# VERSION of the base
ARG VERSION=3.20
FROM alpine:${VERSION}
```

## References
- https://docs.docker.com/reference/build-checks/invalid-definition-description/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Word
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "misleading-comment-description"
ALIASES = ("InvalidDefinitionDescription",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
STRICT = True
# What a tool reads from the next line on; a bare # between them could hide that line from it.
_PRAGMA = re.compile(
    r"(?:^|#)\s*"
    r"(?:(?:hadolint|buildopt)\s+(?:(?:global\s+)?ignore|shell)\s*=|shellcheck\s+[\w-]+=|(?:checkov|renovate|trivy):)",
    re.IGNORECASE,
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last comment line above every ARG and FROM; an empty one ends what may describe them."""
    for instruction in dockerfile.instructions:
        if instruction.keyword not in ("ARG", "FROM") or instruction.problems:
            continue
        words = instruction.words[2:3] if instruction.keyword == "FROM" else tuple(_keys(instruction))
        above = (item for item in reversed(instruction.comments) if not item.inside and not _PRAGMA.search(item.text))
        comment = next(above, None)
        if comment is None or not comment.text or not words:
            continue
        names = [word.text for word in words]
        if instruction.keyword == "FROM":
            names = [name.lower() for name in names]
        if comment.text.split(" ", 1)[0] not in names:
            wanted = " or ".join(names)
            message = (
                f"the comment above passes for a description: begin it with {wanted}, or set it apart with a bare #"
            )
            end = dockerfile.line_span(comment.span).end
            edit = Edit(Span(end, end), f"#{dockerfile.source.newline}")
            fix = Fix("set the comment apart with an empty one", (edit,))
            yield Finding(NAME, message, dockerfile.source, words[0].span, SEVERITY, CATEGORY, ALIASES, fix)


def _keys(instruction: Instruction) -> Iterator[Word]:
    yield from (pair.key for pair in instruction.pairs)
