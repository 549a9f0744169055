"""`FROM … as` in another casing.

## What it does
Finds `as` in lower case after `FROM` in upper case, and the other way round.

## Why
Both are keywords of one instruction; in one casing the line is easier to read.

## Example
```dockerfile
FROM golang:1.23 as build
```

## Use instead
```dockerfile
FROM golang:1.23 AS build
```

## References
- https://docs.docker.com/reference/build-checks/from-as-casing/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "from-as-casing"
ALIASES = ("FromAsCasing",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Compare FROM and AS of every stage."""
    source = dockerfile.source
    for stage in dockerfile.stages:
        words = stage.origin.words
        if len(words) != 3 or stage.origin.problems:
            continue
        keyword = source.text[stage.origin.keyword_span.start : stage.origin.keyword_span.end]
        typed = words[1].text
        if not (keyword.isupper() or keyword.islower()):
            continue  # which casing is meant is the question of another rule
        wanted = "AS" if keyword.isupper() else "as"
        if typed != wanted:
            fix = Fix(f"write {wanted}", (Edit(words[1].span, wanted),))
            message = f"{typed} and {keyword} are in different casings"
            yield Finding(NAME, message, source, words[1].span, SEVERITY, CATEGORY, ALIASES, fix)
