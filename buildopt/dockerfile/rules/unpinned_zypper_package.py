"""Packages of zypper without a version.

## What it does
Finds `zypper install name` without `=version` or another comparison.

## Why
The same Dockerfile installs something else next month: a version makes a build tell of a change instead of taking it
in. Weigh it: repositories, openSUSE's above all, drop a version as soon as there is a newer one, and a build with an
exact pin then fails. That is why it is only a note.

## Example
```dockerfile
RUN zypper --non-interactive install nginx && zypper clean --all
```

## Use instead
```dockerfile
RUN zypper --non-interactive install "nginx>=1.27" && zypper clean --all
```

## References
- https://en.opensuse.org/SDB:Zypper_manual
- https://docs.docker.com/build/building/best-practices/#version-pinning
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-zypper-package"
ALIASES = ("DL3037",)
SEVERITY = Severity.INFO
CATEGORY = Category.CORRECTNESS
# A comparison; name-version; a file or address; `!name` and `-name` remove; `pattern:name`; `perl(Name)`.
_FIXED = re.compile(r".*[=<>].*|.*-\d+\..*|.*[/:(].*|.*\.rpm|[!-].*", re.DOTALL)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    for run, command, names in unpinned(dockerfile, settings, _ours, _theirs):
        message = f"{names} no version: pin it as name=version"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.tool != "zypper" or call.action not in ("install", "in"):
        return
    kind = call.value("-t", "--type")
    if kind is None or kind.text == "package":
        yield from (word for word, text in literal(call.operands) if not _FIXED.fullmatch(text))


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if item.runs(("zypper",), ("install", "in")):
        for text in item.operands():
            if text not in ("install", "in") and not (any(sign in text for sign in "=<>") or text.endswith(".rpm")):
                yield text
