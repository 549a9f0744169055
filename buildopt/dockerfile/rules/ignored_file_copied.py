"""COPY of a file that `.dockerignore` leaves out.

## What it does
Finds COPY and ADD whose source the build never gets to see, by `Dockerfile.dockerignore` or the `.dockerignore` beside
the Dockerfile.

## Why
The build fails with "not found", although the file is there: what is ignored is not sent. A `COPY .` of which all is
ignored copies nothing.

## Example
```dockerfile
COPY package.json dist/ ./
```
with this `.dockerignore`:
```dockerignore
node_modules
dist
```

## Use instead
```dockerfile
COPY package.json ./
RUN npm run build
```
or take `dist` out of `.dockerignore`.

## References
- https://docs.docker.com/reference/build-checks/copy-ignored-file/
- https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from buildopt.dockerfile.context import Ignored, ignored_by
from buildopt.dockerfile.model import Dockerfile, Instruction, Word
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "ignored-file-copied"
ALIASES = ("CopyIgnoredFile",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_REMOTE = re.compile(r"(?:https?|git|ssh|ftp)://|git@|github\.com/|.*\.git(?:#|$)")
_WILDCARD = re.compile(r"[*?\[]")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every source of COPY and ADD that is of the build context."""
    if not any(item.actual.keyword in ("COPY", "ADD") for item in dockerfile.instructions):
        return
    ignored = ignored_by(dockerfile.source.path)
    if ignored is None or not ignored.patterns:
        return
    for _, outer, scope in walk(dockerfile):
        instruction = outer.actual
        for word in _sources(instruction):
            expanded = scope.expand(word.text)
            if expanded is None or not expanded.text or _is_remote(instruction, expanded.text):
                continue
            path = posixpath.normpath(expanded.text).lstrip("/") or "."
            if _hidden(ignored, path):
                message = f"{ignored.path} leaves out {expanded.text}, so the build has nothing to copy"
                # BuildKit takes the path as it is typed, and knows nothing of triggers.
                aliases = ALIASES if instruction is outer and ignored.leaves_out(expanded.text) else ()
                yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, aliases)


def _sources(instruction: Instruction) -> Iterator[Word]:
    if instruction.keyword not in ("COPY", "ADD") or instruction.flag("from") is not None:
        return
    documents = {heredoc.operator for heredoc in instruction.heredocs}
    yield from (word for word in instruction.words[:-1] if word.span not in documents)


def _is_remote(instruction: Instruction, text: str) -> bool:
    return instruction.keyword == "ADD" and _REMOTE.match(text) is not None


def _hidden(ignored: Ignored, path: str) -> bool:
    """Whether nothing is left of a path; of one with wildcards, whether nothing is left of the folder before them."""
    wildcard = _WILDCARD.search(path)
    if wildcard is None:
        return not path.startswith("../") and ignored.hides(path)
    folder = path[: wildcard.start()].rpartition("/")[0]
    if folder:
        return ignored.hides(folder)
    keeps = any(pattern.keeps for pattern in ignored.patterns)
    return not keeps and any(pattern.text == path for pattern in ignored.patterns)
