"""A user with a large number, and a login record as large.

## What it does
Finds `useradd` with a user id of six digits or more and without `--no-log-init`.

## Why
useradd writes /var/log/lastlog and /var/log/faillog at the place of the user's number. The files are sparse on disk,
but not in an image's layer: a large number makes it gigabytes larger, or ends the build.

## Example
```dockerfile
RUN useradd -u 1000700000 app
```

## Use instead
```dockerfile
RUN useradd -l -u 1000700000 app
```

## References
- https://docs.docker.com/build/building/best-practices/#user
- https://github.com/golang/go/issues/13548
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import named
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "useradd-without-no-log-init"
ALIASES = ("DL3046",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_DIGITS = 6
_UID = re.compile(r"-[a-zA-Z]*u|--uid")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every `useradd`."""
    for run, command in named(dockerfile, settings, ("useradd",)):
        if _no_log(command):
            continue
        number = _number(command, settings.like_hadolint)
        if len(number) < _DIGITS or not (number.isdigit() or settings.like_hadolint):
            continue
        name = command.argv[0]
        fix = Fix("add -l", (run.insert_behind(name, " -l"),)) if run.exact(name) else None
        message = "a user id this large makes the login records huge: add --no-log-init"
        span = run.span(command.span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _no_log(command: Command) -> bool:
    return any(
        text == "--no-log-init" or (text.startswith("-") and not text.startswith("--") and "l" in text)
        for text in command.texts
    )


def _number(command: Command, like_hadolint: bool) -> str:
    """The value of ``-u``; hadolint takes that of a separate word only, as it is written."""
    words = command.arguments
    for index, word in enumerate(words):
        text = word.text or ""
        if _UID.fullmatch(text) and index + 1 < len(words) and not (like_hadolint and text == "--uid"):
            following = words[index + 1]
            return following.text if following.text is not None else following.raw if like_hadolint else ""
        if like_hadolint:
            continue
        if text.startswith("--uid="):
            return text[len("--uid=") :]
        if text.startswith("-u") and text[2:].isdigit():
            return text[2:]
    return ""
