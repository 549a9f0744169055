"""A script from the network that is run unseen.

## What it does
Finds what `curl` or `wget` downloads and a shell or interpreter runs at once: `curl … | sh`, `bash <(curl …)`,
`sh -c "$(curl …)"`.

## Why
The script may be another one tomorrow, and half of one where the connection breaks. A RUN that is cached hides this
until the day it is built again. A version that is downloaded, checked and then run is the same every time.

## Example
```dockerfile
FROM debian:12
RUN curl -fsSL https://example.org/install.sh | sh
```

## Use instead
```dockerfile
FROM debian:12
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d \\
    https://example.org/install.sh /tmp/install.sh
RUN sh /tmp/install.sh
```

## References
- https://docs.docker.com/build/building/best-practices/#add-or-copy
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "piped-to-shell"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SECURITY
_DOWNLOADS = frozenset(("curl", "wget"))
_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh", "ksh"))
_INTERPRETER = re.compile(r"(?:python|pypy)[0-9.]*|perl|ruby|node|php")
_PIPES = frozenset(("|", "|&"))
_SUBSTITUTED = re.compile(r"[\"']?(?:\$\(|<\(|`)\s*(?:curl|wget)\b")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look for downloads whose output is run."""
    for run in runs(dockerfile):
        text = run.script.text
        if "curl" not in text and "wget" not in text:
            continue
        commands = run.script.commands
        for index, command in enumerate(commands):
            if command.name in _DOWNLOADS and command.operator in _PIPES:
                runner = _runner(commands, index)
                if runner is not None:
                    yield _finding(dockerfile, run, Span(command.span.start, max(command.span.end, runner.span.end)))
            elif (command.name in _SHELLS or command.name in ("eval", "source", ".")) and _runs_download(command):
                yield _finding(dockerfile, run, command.span)


def _runner(commands: Sequence[Command], index: int) -> Command | None:
    """What runs the output of a download, filters in between (`| tar` is none: it ends the search)."""
    context = commands[index].context
    following = [command for command in commands[index + 1 :] if command.context == context]
    for command in following:
        if _reads_program(command):
            return command
        if (
            command.name not in ("sed", "tee", "cat", "tr", "grep", "gunzip", "base64")
            or command.operator not in _PIPES
        ):
            return None
    return None


def _reads_program(command: Command) -> bool:
    """Whether it runs what it reads: a shell or an interpreter without a script of its own."""
    if command.name is None:
        return False
    operands = [word.text or "$" for word in command.arguments]
    if command.name in _SHELLS:
        if any(text.startswith("-") and not text.startswith("--") and "c" in text for text in operands):
            return False
        plain = [text for text in operands if not text.startswith(("-", "+"))]
        options = [text for text in operands if text.startswith("-") and not text.startswith("--") and "s" in text]
        return not plain or bool(options) or "-" in operands or plain[0] == "/dev/stdin" or "pipefail" in plain
    if _INTERPRETER.fullmatch(command.name):
        return not operands or operands[0] in ("-", "/dev/stdin", "--") or operands[:1] == ["-u"]
    return False


def _runs_download(command: Command) -> bool:
    """``sh -c "$(curl …)"``, ``bash <(curl …)``, ``eval "$(curl …)"``."""
    scripts = [word.raw for word in command.arguments if word.text is None]
    return bool(scripts) and _SUBSTITUTED.match(scripts[0]) is not None


def _finding(dockerfile: Dockerfile, run: Run, span: Span) -> Finding:
    message = "what is downloaded here runs unseen, and may be another script tomorrow: pin it and check it first"
    return Finding(NAME, message, dockerfile.source, run.span(span), SEVERITY, CATEGORY, ALIASES)
