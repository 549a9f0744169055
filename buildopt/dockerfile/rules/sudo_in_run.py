"""sudo in a build.

## What it does
Finds `sudo` in RUN.

## Why
A build is root unless a USER says otherwise, and then it needs no sudo. Installed for nothing it makes the image
larger, and is one more way for an intruder to become root; it also drops variables and handles signals in ways of its
own.

## Example
```dockerfile
FROM debian:12
USER root
RUN sudo apt-get update
```

## Use instead
```dockerfile
FROM debian:12
USER root
RUN apt-get update
```
The fix drops `sudo` where it has no options that matter. It is safe after `USER root`, unless there are variables that
sudo would hide, and unsafe where the base image decides who builds; under another user there is none: put `USER root`
before and that user after it.

## References
- https://docs.docker.com/build/building/best-practices/#user
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import is_trigger
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.shell import Command, Word
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "sudo-in-run"
ALIASES = ("DL3004",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SECURITY
_TRANSPARENT = frozenset(("exec", "command", "builtin", "busybox", "time"))
# Options that change nothing for root.
_IDLE = frozenset(("-E", "--preserve-env", "-n", "--non-interactive", "-H", "--set-home", "--"))

_SHELLS_OWN = frozenset(
    (
        *(".", ":", "alias", "bg", "break", "case", "cd", "command", "continue", "declare", "eval", "exec", "exit"),
        *("export", "fg", "for", "function", "hash", "if", "jobs", "let", "local", "popd", "pushd", "read", "readonly"),
        *("return", "set", "shift", "shopt", "source", "times", "trap", "type", "typeset", "ulimit", "umask"),
        *("unalias", "unset", "until", "wait", "while", "{", "[["),
    )
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command, those behind ONBUILD too."""
    for run in all_runs(dockerfile):
        for command in run.script.commands:
            word = _sudo(command, settings)
            if word is None:
                continue
            message = "a build needs no sudo: switch to root with USER root, and back with another USER"
            fix = _fix(dockerfile, run, command, word)
            yield Finding(NAME, message, dockerfile.source, run.span(word.span), SEVERITY, CATEGORY, ALIASES, fix)


def _sudo(command: Command, settings: LintSettings) -> Word | None:
    """The word ``sudo``, where it is what runs or what runs the rest."""
    if "sudo" not in command.wrappers and command.name != "sudo":
        return None
    names = [word.text.rsplit("/", 1)[-1] if word.text else "" for word in command.words]
    word = command.words[names.index("sudo")] if "sudo" in names else None
    if settings.like_hadolint:
        before = [name for name in command.wrappers if name not in _TRANSPARENT]
        if "sh -c" in command.context or before[:1] not in ([], ["sudo"]) or word is None or word.text != "sudo":
            return None
    return word


def _fix(dockerfile: Dockerfile, run: Run, command: Command, word: Word) -> Fix | None:
    """Drop it, where what remains does the same as root."""
    place = command.words.index(word)
    rest = command.words[place + 1 :]
    while rest and (rest[0].text in _IDLE or rest[0].text == "sudo"):
        rest = rest[1:]
    user = run.scope.user
    root = user is not None and user.partition(":")[0] in ("root", "0")
    if not rest or not run.exact(word) or not run.exact(rest[0]) or (user is not None and not root):
        return None
    if rest[0].text is None or rest[0].text.startswith("-") or ("=" in rest[0].raw and place > 0):
        return None
    if rest[0].text in _SHELLS_OWN or re.search(rf"(?<![\w-]){re.escape(rest[0].text)}\s*\(\s*\)", run.script.text):
        return None  # sudo finds no such program, and without it the shell itself would change
    span = Span(run.span(word.span).start, run.span(rest[0].span).start)
    if any(span.start <= comment.span.start < span.end for comment in run.instruction.comments):
        return None
    # Another build decides who runs a trigger, and sudo hides variables from what it runs.
    exported = any(other.name in ("export", "declare", ".", "source") for other in run.script.commands)
    hidden = bool(command.assignments or run.scope.env or run.scope.args or exported)
    return Fix("drop sudo", (Edit(span, ""),), safe=root and not hidden and not is_trigger(dockerfile, run))
