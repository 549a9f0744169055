"""A download that fills the build's log.

## What it does
Finds `wget` without an option that shortens its progress report.

## Why
Without a terminal wget writes a line for every 50 kB: thousands for a large file, in which errors are hard to find.
BusyBox's wget (Alpine) does not do that and has no such option; this rule is silent where it is the one in use.

## Example
```dockerfile
FROM debian:12
RUN wget https://example.com/large.iso
```

## Use instead
```dockerfile
FROM debian:12
RUN wget --progress=dot:giga https://example.com/large.iso
```
The fix is unsafe where the base image is not known: its wget may be BusyBox's.

## References
- https://www.gnu.org/software/wget/manual/wget.html#Download-Options
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.bases import base_of
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import named
from buildopt.dockerfile.packages import calls
from buildopt.dockerfile.runs import all_runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "wget-without-quiet-progress"
ALIASES = ("DL3047",)
SEVERITY = Severity.STYLE
CATEGORY = Category.STYLE
_LONG = ("--progress", "--quiet", "--no-verbose", "--output-file", "--append-output", "--spider", "--version", "--help")
_GNU = frozenset(("debian", "ubuntu", "fedora", "centos", "rockylinux", "almalinux", "amazonlinux", "oraclelinux"))
_BUSYBOX = frozenset(("alpine", "busybox"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every `wget`."""
    found = list(named(dockerfile, settings, ("wget",)))
    # From where on a stage has the real one.
    real: dict[int, int] = {}
    for run in all_runs(dockerfile) if found else ():
        if any(word.text == "wget" for call in calls(run) for word in call.operands):
            real.setdefault(run.stage.index, run.instruction.span.start)
    for run, command in found:
        if _is_short(command, settings.like_hadolint):
            continue
        other = "busybox" in command.wrappers  # it knows no such option
        if other and not settings.like_hadolint:
            continue
        base = base_of(dockerfile, run.stage)
        family = base.distribution if base is not None else ""
        installed = real.get(run.stage.index)
        known = family in _GNU or (installed is not None and installed <= run.instruction.span.start)
        if not known and family in _BUSYBOX and not settings.like_hadolint:
            continue
        name = command.argv[0]
        edit = run.insert_behind(name, " --progress=dot:giga")
        fix = Fix("add --progress=dot:giga", (edit,), known) if run.exact(name) and not other else None
        message = "wget reports its progress in thousands of lines: add --progress=dot:giga"
        span = run.span(command.span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _is_short(command: Command, like_hadolint: bool) -> bool:
    for text in command.texts:
        if text.startswith("--"):
            if text.partition("=")[0] in (_LONG[:5] if like_hadolint else _LONG):
                return True
        elif text.startswith("-") and (text == "-nv" or any(letter in text for letter in "qoa")):
            return True
    # The value of a bare variable may be several words: WGET_OPTS usually holds this.
    return not like_hadolint and any(
        re.fullmatch(r"\$(?:\w+|\{\w+\}|@)", word.raw) and not re.search(r"(?i)ur[il]", word.raw)
        for word in command.arguments[:1]
    )
