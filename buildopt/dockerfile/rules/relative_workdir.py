"""WORKDIR with a relative path.

## What it does
Finds WORKDIR whose path does not start at the root.

## Why
Where it leads depends on the WORKDIR before it, or on the base image's, which may change with any new version of it.

## Example
```dockerfile
FROM alpine:3.20
WORKDIR app
```

## Use instead
```dockerfile
FROM alpine:3.20
WORKDIR /app
```
There is a fix where the file itself says which folder this is; the finding is then only a matter of style.

## References
- https://docs.docker.com/reference/build-checks/workdir-relative-path/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import is_absolute, joined, walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "relative-workdir"
ALIASES = ("DL3000", "WorkdirRelativePath")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every WORKDIR."""
    for _, instruction, scope in walk(dockerfile):
        if instruction.keyword != "WORKDIR":
            continue
        word = instruction.words[0]
        expanded = scope.expand(word.text)
        if expanded is None or not expanded.text or is_absolute(expanded.text):
            continue
        path = joined(scope.workdir, expanded.text)
        fix, severity = None, SEVERITY
        message = f"{word.text} is relative to a folder that the base image decides: use an absolute path"
        if path is not None and scope.workdir_is_certain and scope.certain(expanded):
            severity = Severity.STYLE
            message = f"{word.text} is relative: write {path}"
            if _plain(path):
                fix = Fix(f"write {path}", (Edit(word.span, path),))
        yield Finding(NAME, message, dockerfile.source, word.span, severity, CATEGORY, ALIASES, fix)


def _plain(path: str) -> bool:
    """Whether a path needs no quoting and holds no variable."""
    return not any(char in path for char in " \t\\\"'$`\r\n")
