r"""A script from the network that runs unchecked.

## What it does
Finds `curl … | sh` and its relatives: wget, any shell or interpreter at the pipe's end, `sh -c "$(curl …)"`,
`bash <(curl …)`.

## Why
Whatever the server sends runs with all rights of the build: another version tomorrow, half a script after a lost
connection, or one that was tampered with. A file that is downloaded first can be checked, and read.

## Example
```dockerfile
RUN curl -fsSL https://example.com/install.sh | sh
```

## Use instead
```dockerfile
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d \
    https://example.com/install.sh /tmp/
RUN sh /tmp/install.sh
```

## References
- https://docs.docker.com/reference/dockerfile/#add---checksum
- https://docs.docker.com/build/building/best-practices/#using-pipes
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import all_runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "piped-to-shell"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SECURITY
_FETCHERS = frozenset(("curl", "wget"))
_PIPES = ("|", "|&")
_SHELL = re.compile(r"(?:ba|da|a|k|z)?sh")
_INTERPRETER = re.compile(r"(?:python|pypy|perl|ruby|node|php)[0-9.]*")
_STANDARD_INPUT = ("-", "/dev/stdin")
_FETCHED = re.compile(r"[\"']?(?:\$\(|<\(|`)\s*(?:curl|wget)\s")
# Options of shells that take the next word.
_VALUED = ("-o", "+o", "-O", "+O", "--rcfile", "--init-file")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command that fetches, and at the one that its output goes to."""
    for run in all_runs(dockerfile):
        commands = run.script.commands
        for index, command in enumerate(commands):
            if command.name in _FETCHERS and command.operator in _PIPES:
                reader = _reader(commands, index)
            elif command.name is not None and _runs_fetched(command):
                reader = command
            else:
                continue
            if reader is not None:
                message = (
                    f"{reader.name} runs whatever the server sends: download the script, check its sum, then run it"
                )
                span = run.span(command.span)
                yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _reader(commands: Sequence[Command], index: int) -> Command | None:
    """The interpreter at the end of a pipe, where it reads its script from there."""
    context, operator = commands[index].context, commands[index].operator
    for command in commands[index + 1 :]:
        if command.context != context:
            continue
        if operator not in _PIPES:
            return None
        if _reads_script(command):
            return command
        operator = command.operator
    return None


def _reads_script(command: Command) -> bool:
    name = command.name or ""
    is_shell = _SHELL.fullmatch(name) is not None
    if not is_shell and not _INTERPRETER.fullmatch(name):
        return False
    skip = False
    for word in command.arguments:
        text = word.text
        if skip:
            skip = False
        elif text in _STANDARD_INPUT:
            return True
        elif text is None or text[:1] not in ("-", "+"):
            return False  # a script of its own
        elif text.startswith("--"):
            skip = text in _VALUED
        elif is_shell:
            if "s" in text:
                return True
            if "c" in text:
                return False
            skip = text in _VALUED or text.endswith("o")
        else:
            return False  # -c, -m, -e: the program is in the arguments
    return True


def _runs_fetched(command: Command) -> bool:
    """``sh -c "$(curl …)"``, ``bash <(curl …)``, ``. <(curl …)``, ``eval "$(curl …)"``."""
    name = command.name or ""
    if name in (".", "source", "eval"):
        return any(_FETCHED.match(word.raw) for word in command.arguments[:1])
    if not _SHELL.fullmatch(name) and not _INTERPRETER.fullmatch(name):
        return False
    previous = ""
    for word in command.arguments:
        if _FETCHED.match(word.raw):
            return "<(" in word.raw[:4] or previous in ("-c", "-e") or (previous[:1] == "-" and previous.endswith("c"))
        if word.text is None or word.text[:1] != "-":
            return False
        previous = word.text
    return False
