"""Packages of dnf, microdnf or yum without a version.

## What it does
Finds `dnf install name` where no version follows the name, and `dnf module install name` without a stream.

## Why
The same Dockerfile installs something else next month: a version makes a build tell of a change instead of taking it
in. Weigh it: most mirrors drop a version as soon as there is a newer one, and a build with a pin then fails. That is
why it is only a note.

## Example
```dockerfile
RUN dnf install -y nginx && dnf clean all
```

## Use instead
```dockerfile
RUN dnf install -y nginx-1.26.* && dnf clean all
```

## References
- https://dnf.readthedocs.io/en/latest/command_ref.html#specifying-packages
- https://docs.docker.com/build/building/best-practices/#version-pinning
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from buildopt.dockerfile.hadolint import Seen, environment
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-dnf-package"
ALIASES = ("DL3033", "DL3041")
SEVERITY = Severity.INFO
CATEGORY = Category.CORRECTNESS
# A version; a file or address; `@group`, `@module:stream`; `perl(Name)` and such that a package provides.
_FIXED = re.compile(r".*-\d.*|.*/.*|.*\.rpm|@.*|.*\(.*", re.DOTALL)
_VERSION = re.compile(r"-\d[\w.+~^:-]*$")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    arguments = [item for item in dockerfile.instructions if item.keyword == "ARG"]

    def theirs(run: Run, item: Seen) -> Iterator[str]:
        # An ARG of any stage counts.
        earlier = (each for each in arguments if each.span.start < run.instruction.span.start)
        return _theirs(environment(run).keys() | {pair.key.text for each in earlier for pair in each.pairs}, item)

    for run, command, names in unpinned(dockerfile, settings, _ours, theirs):
        alias = "DL3033" if command.name == "yum" else "DL3041"
        message = f"{names} no version: pin it as name-version (a module as name:stream)"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, (alias,))


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.tool != "dnf":
        return
    if call.action in ("install", "in"):
        yield from (word for word, text in literal(call.operands) if not _FIXED.fullmatch(text))
    elif call.action == "module install":
        yield from (word for word, text in literal(call.operands) if ":" not in text)


def _theirs(variables: Set[str], item: Seen) -> Iterator[str]:
    if not item.runs(("yum", "dnf", "microdnf"), ("install",)) or ("group" in item.words and item.name != "yum"):
        return
    module = "module" in item.words
    for text in item.operands():
        if text == "install" or (module and (text == "module" or ":" in text)):
            continue
        given = any((match[1] or match[2]) in variables for match in _VARIABLE.finditer(text))
        if module or not (_VERSION.search(text) or (given and "-" in text)):
            yield text
