"""`zypper install` that asks.

## What it does
Finds `zypper` commands that install, update or remove packages without `--non-interactive` (`-n`) and without `-y`.

## Why
They ask before they change anything, and about licences. In a build nobody answers: the command gives up, and the build
fails.

## Example
```dockerfile
RUN zypper install curl && zypper clean -a
```

## Use instead
```dockerfile
RUN zypper -n install curl && zypper clean -a
```

## References
- https://en.opensuse.org/SDB:Zypper_manual
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call, call
from buildopt.dockerfile.runs import Run, all_runs, unanswered
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "missing-zypper-non-interactive"
ALIASES = ("DL3034",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_ASKING = word_set(
    "install in remove rm update up dist-upgrade dup patch source-install si install-new-recommends inr verify ve"
)
_ANSWERED = ("-n", "--non-interactive", "-y", "--no-confirm", "--dry-run", "--help", "-h", "--version", "-V")
_THEIRS = word_set("install in remove rm source-install si patch")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command that asks."""
    for run in all_runs(dockerfile):
        for command in _theirs(run) if settings.like_hadolint else _ours(run):
            program = command.argv[0]
            fix = Fix("add -n", (run.insert_behind(program, " -n"),)) if run.exact(program) else None
            found = call(command)
            action = found.action if found is not None and found.action in _ASKING else "install"
            message = f"zypper {action} asks, and nobody answers in a build: use zypper -n"
            span = run.span(command.span)
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _ours(run: Run) -> Iterator[Command]:
    for command in unanswered(run):
        found = call(command)
        if found is None or found.tool != "zypper" or found.action not in _ASKING:
            continue
        if not _never_asks(found):
            yield command


def _never_asks(found: Call) -> bool:
    if found.has(*_ANSWERED) or any(redirect.operator.startswith("<") for redirect in found.command.redirects):
        return True
    # An option may be in a variable.
    return any(word.text is None and word.raw.startswith(("$", '"$')) for word in found.command.arguments)


def _theirs(run: Run) -> Iterator[Command]:
    for item in seen(run):
        if item.runs(("zypper",), _THEIRS) and not item.has("n", "non-interactive", "y", "no-confirm"):
            yield item.command
