"""A comment that silences nothing.

## What it does
Finds names in `# hadolint ignore=…`, `# buildopt ignore=…` and `# check=skip=…` for which there is nothing to silence.

## Why
What the comment excused has been mended or has moved. Left there, it hides the next finding of that rule, and misleads
whoever reads it.

## Example
```dockerfile
FROM alpine:3.20
# hadolint ignore=DL3025
CMD ["date"]
```

## Use instead
```dockerfile
FROM alpine:3.20
CMD ["date"]
```
Only names of rules that run in the profile are judged: codes of ShellCheck never are, nor checks of BuildKit that look
at more than the file.

## References
- https://github.com/hadolint/hadolint#ignoring-rules
- https://docs.docker.com/build/checks/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildopt.dockerfile.ignores import Ignore, Silencer
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "unused-ignore"
ALIASES = ()
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
# BuildKit sees the base image and the build context when it decides about these.
_UNDECIDED = frozenset(("undefinedvar", "copyignoredfile"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Nothing: what comments silence is known once the other rules have run; they call ``unused`` then."""
    yield from ()


def unused(dockerfile: Dockerfile, ignores: Sequence[Ignore], found: Sequence[Finding]) -> Iterator[Finding]:
    """The ignores that silence none of the findings."""
    silencer = Silencer(ignores)
    busy = {ignore for finding in found for ignore in silencer.silencing(finding)}
    for ignore in ignores:
        if ignore in busy or (ignore.directive and ignore.name.lower() in _UNDECIDED):
            continue
        edit = _without(dockerfile, ignore)
        fix = None if edit is None else Fix("remove the name", (edit,))
        shown = dockerfile.source.text[ignore.span.start : ignore.span.end]
        message = f"nothing here needs to ignore {shown}"
        yield Finding(NAME, message, dockerfile.source, ignore.span, SEVERITY, CATEGORY, ALIASES, fix)


def _without(dockerfile: Dockerfile, ignore: Ignore) -> Edit | None:
    """The edit that takes a name out of its list; with the last name goes the comment's line, unless it says more."""
    text = dockerfile.source.text
    listed = text[ignore.listed.start : ignore.listed.end]
    names = re.findall(r"[^,\s]+", listed)
    if len(names) > 1:
        start, end = ignore.span.start, ignore.span.end
        rest = re.compile(r"[ \t]*,[ \t]*").match(text, end, ignore.listed.end)
        if rest is not None:
            return Edit(Span(start, rest.end()), "")
        before = text[ignore.listed.start : start]
        return Edit(Span(ignore.listed.start + len(before.rstrip(" \t,")), end), "")
    if ignore.directive and ";" in text[ignore.comment.start : ignore.comment.end]:
        return None
    line_start = text.rfind("\n", 0, ignore.comment.start) + 1
    line_end = text.find("\n", ignore.comment.end)
    after = text[ignore.listed.end : ignore.comment.end].strip(" \t\r#")
    if after:
        return Edit(Span(ignore.comment.start, ignore.listed.end), "#")
    return Edit(Span(line_start, len(text) if line_end < 0 else line_end + 1), "")
