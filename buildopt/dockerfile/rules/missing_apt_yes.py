"""`apt-get install` that asks.

## What it does
Finds `apt-get install`, `upgrade`, `remove` and the like without `-y`.

## Why
apt-get asks before it changes more than what was named. In a build nobody answers: it aborts, and the build fails as
soon as a package brings a dependency along.

## Example
```dockerfile
RUN apt-get update && apt-get install python3
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y python3
```

## References
- https://manpages.debian.org/stable/apt/apt-get.8.en.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen, seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run, all_runs, apt_settings, apt_subcommand, unanswered
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "missing-apt-yes"
ALIASES = ("DL3014",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_ASKING = frozenset(
    (
        *("install", "reinstall", "build-dep", "upgrade", "dist-upgrade", "full-upgrade"),
        *("remove", "purge", "autoremove", "autopurge"),
    )
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command that asks."""
    for run in all_runs(dockerfile):
        if settings.like_hadolint:
            for item in seen(run):
                if item.runs(("apt-get",), ("install",)) and not _quiet_for_hadolint(item):
                    yield _finding(dockerfile, run, item.command)
            continue
        for command in unanswered(run):
            word = apt_subcommand(command)
            if word is None or word.text not in _ASKING or _never_asks(command) or _told_by_variable(run, command):
                continue
            if "assume-yes" in dockerfile.source.text[: run.instruction.span.end].lower():
                continue  # something speaks of APT::Get::Assume-Yes: a line for apt.conf.d, usually
            yield _finding(dockerfile, run, command)


def _finding(dockerfile: Dockerfile, run: Run, command: Command) -> Finding:
    word = apt_subcommand(command)
    fix = Fix("add -y", (run.insert_behind(word, " -y"),)) if word is not None and run.exact(word) else None
    action = "install" if word is None else word.text
    message = f"{command.name} {action} asks, and nobody answers in a build: add -y"
    return Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES, fix)


def _quiet_for_hadolint(item: Seen) -> bool:
    # Two of them exactly.
    short = sum(word.count("q") for word in item.words if word.startswith("-") and not word.startswith("--"))
    return 2 in (short, item.words.count("--quiet")) or "-q=2" in item.words or item.has("y", "yes", "assume-yes")


_TELLS = r"(?:^|[\s\"'])-(?:[a-zA-Z]*y|-yes|-assume-yes|qq|[a-zA-Z]*q[a-zA-Z]*q)"


def _told_by_variable(run: Run, command: Command) -> bool:
    """Whether a variable among the words holds the option."""
    for word in command.arguments:
        for name in re.findall(r"\$\{?(\w+)", word.raw) if word.text is None else ():
            value = run.scope.variables.get(name)
            if value is not None and re.search(_TELLS, value):
                return True
            if re.search(rf"\b{name}\+?=(?:\"[^\"]*|'[^']*|\S*?){_TELLS}", run.logical.text):
                return True
    return False


def _never_asks(command: Command) -> bool:
    quiet = 0
    for text in command.texts:
        if text in ("--yes", "--assume-yes", "--force-yes", "--simulate", "--just-print", "--dry-run", "--assume-no"):
            return True
        if text in ("--print-uris", "--help", "--version", "--recon", "--no-act"):
            return True
        if text.startswith("-q="):
            quiet += 2 if text[3:4] in ("2", "3", "4") else 1
        elif text.startswith("-") and not text.startswith(("--", "-o", "-t", "-c")):
            if any(letter in text for letter in "ysh"):
                return True
            quiet += text.count("q")
        elif text == "--quiet":
            quiet += 1
    if any(redirect.operator.startswith("<") for redirect in command.redirects):
        return True
    return quiet >= 2 or apt_settings(command).get("apt::get::assume-yes") in ("true", "yes", "1", "on")
