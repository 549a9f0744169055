"""`dnf install` that asks.

## What it does
Finds `dnf`, `yum` and `microdnf` commands that install, upgrade or remove packages without `-y`.

## Why
They ask before they change anything. In a build nobody answers: the command gives up, and the build fails.

## Example
```dockerfile
RUN dnf install curl && dnf clean all
```

## Use instead
```dockerfile
RUN dnf install -y curl && dnf clean all
```

## References
- https://dnf.readthedocs.io/en/latest/command_ref.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call, call
from buildopt.dockerfile.runs import Run, all_runs, unanswered
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "missing-dnf-yes"
ALIASES = ("DL3030", "DL3038")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_ASKING = word_set(
    "install in groupinstall localinstall localupdate reinstall rei update up upgrade upgrade-minimal up-min "
    "update-minimal downgrade dg remove rm erase autoremove groupremove groupupdate swap distro-sync dsync builddep "
    "build-dep"
) | {f"{family} {action}" for family in ("group", "module") for action in ("install", "update", "upgrade", "remove")}
_ANSWERED = ("-y", "--assumeyes", "--assumeno", "--help", "-h", "--version", "--downloadonly")
_INSTALLS = ("install", "groupinstall", "localinstall")
# In a line for a configuration file, that is; not as an option.
_SETTING = re.compile(r"(?<!--)(?<!--setopt=)\b(?:assume|default)yes\b")
_ALIAS = {"yum": "DL3030"}


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command that asks."""
    for run in all_runs(dockerfile):
        for command in _theirs(run) if settings.like_hadolint else _ours(dockerfile, run):
            found = call(command)
            asking = found is not None and found.action in _ASKING
            fix = None
            if found is not None and asking and found.anchor is not None and run.exact(found.anchor):
                fix = Fix("add -y", (run.insert_behind(found.anchor, " -y"),))
            name = command.name or "dnf"
            action = found.action if found is not None and asking else "install"
            message = f"{name} {action} asks, and nobody answers in a build: add -y"
            span = run.span(command.span)
            aliases = (_ALIAS.get(name, "DL3038"),)
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, aliases, fix)


def _ours(dockerfile: Dockerfile, run: Run) -> Iterator[Command]:
    for command in unanswered(run):
        found = call(command)
        if found is None or found.tool != "dnf" or found.action not in _ASKING or _never_asks(found):
            continue
        if _SETTING.search(dockerfile.source.text, 0, run.instruction.span.end):
            continue  # something speaks of dnf.conf or yum.conf
        yield command


def _never_asks(found: Call) -> bool:
    if found.has(*_ANSWERED) or any(redirect.operator.startswith("<") for redirect in found.command.redirects):
        return True
    if any(word.text is None for word in found.command.arguments if word.raw.startswith(("$", '"$'))):
        return True  # an option may be in there
    return any("assume" in (option.value.raw if option.value is not None else "") for option in found.options)


def _theirs(run: Run) -> Iterator[Command]:
    for item in seen(run):
        if item.runs(("yum", "dnf", "microdnf"), _INSTALLS) and not item.has("y", "assumeyes"):
            yield item.command
