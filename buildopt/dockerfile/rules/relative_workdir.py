"""WORKDIR with a relative path.

## What it does
Finds WORKDIR whose path does not start at the root.

## Why
Where it leads depends on the WORKDIR before it, or on the base image's, which may change with any new version of it. A
path that consists of an argument without a default is relative too, unless the argument is given. A drive (`C:/app`) is
relative on Linux only: the rule is silent where the base may be one of Windows.

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

import re
from collections.abc import Iterator

from buildopt.dockerfile.bases import base_of
from buildopt.dockerfile.expansions import inherited_names
from buildopt.dockerfile.manager import word_set
from buildopt.dockerfile.model import Dockerfile, Stage, Word
from buildopt.dockerfile.scope import Scope, is_absolute, joined, walk
from buildopt.dockerfile.words import expand
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "relative-workdir"
ALIASES = ("DL3000", "WorkdirRelativePath")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
# Images that are there for Linux only, whatever their tag; those of languages are for Windows too.
_LINUX = word_set("almalinux alpine amazonlinux archlinux busybox centos debian fedora rockylinux ubuntu")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every WORKDIR."""
    placed: set[int] = set()  # the stages in which one came before
    for stage, instruction, scope in walk(dockerfile):
        if instruction is stage.origin and stage.bases and placed.issuperset(stage.bases):
            placed.add(stage.index)
        if instruction.keyword != "WORKDIR":
            continue
        word = instruction.words[0]
        if settings.like_hadolint:
            relative = _like_hadolint(word.text)
        else:
            relative = _is_relative(dockerfile, stage, scope, word.text)
        if relative:
            # BuildKit says nothing of those that follow: the first one decides where they lead.
            aliases = ALIASES[:1] if stage.index in placed else ALIASES
            yield _finding(dockerfile, word, scope, aliases)
        placed.add(stage.index)


def _finding(dockerfile: Dockerfile, word: Word, scope: Scope, aliases: tuple[str, ...]) -> Finding:
    fix, severity = None, SEVERITY
    message = f"{word.text} is relative to a folder that the base image decides: use an absolute path"
    expanded = scope.expand(word.text)
    path = joined(scope.workdir, expanded.text) if expanded is not None and expanded.text else None
    if expanded is not None and is_absolute(expanded.text) and path == expanded.text:
        message = f"{word.text} is absolute on Windows only, and the base is of Linux: use a path from the root"
    elif expanded is not None and path is not None and scope.workdir_is_certain and scope.certain(expanded):
        severity = Severity.STYLE
        message = f"{word.text} is relative: write {path}"
        if _plain(path):
            fix = Fix(f"write {path}", (Edit(word.span, path),))
    return Finding(NAME, message, dockerfile.source, word.span, severity, CATEGORY, aliases, fix)


def _like_hadolint(text: str) -> bool:
    """hadolint looks at how a path begins."""
    return re.match(r"/|\$|[A-Za-z]:", text.strip("\"'")) is None


def _is_relative(dockerfile: Dockerfile, stage: Stage, scope: Scope, text: str) -> bool:
    """Whether a path is relative where no argument is given; not so where the base may know a variable in it."""
    expanded = scope.expand(text)
    if expanded is None:
        known = {"PATH": "/bin"} | {name: value for name, value in scope.variables.items() if value is not None}
        expanded = expand(text, known, dockerfile.escape)
        if expanded.error is not None:
            return False
        inherited = inherited_names(dockerfile, stage)
        for name in expanded.missing - scope.args.keys():
            if inherited is None or inherited.fullmatch(name):
                return False
    if expanded.text.startswith("/"):
        return False
    return not (is_absolute(expanded.text) and _may_be_windows(dockerfile, stage))


def _may_be_windows(dockerfile: Dockerfile, stage: Stage) -> bool:
    """Whether drives and backslashes may mean something: only a base that is known to be of Linux rules it out."""
    while stage.base_index is not None and not stage.base_is_open:
        stage = dockerfile.stages[stage.base_index]
    platform = (stage.platform.value if stage.platform is not None else None) or ""
    if dockerfile.escape == "`" or platform.startswith("windows"):
        return True
    base = base_of(dockerfile, stage)
    # An argument's default is no promise: whoever builds may name another base.
    named = base is not None and stage.image is not None and "$" not in stage.image.text.partition(":")[0]
    return base is None or base.windows or not named or base.repository not in _LINUX


def _plain(path: str) -> bool:
    """Whether a path needs no quoting and holds no variable."""
    return not any(char in path for char in " \t\\\"'$`\r\n")
