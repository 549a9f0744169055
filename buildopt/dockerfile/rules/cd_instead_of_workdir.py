"""`cd` where WORKDIR is meant.

## What it does
Finds RUN that ends with `cd`, whose effect is lost at once, and RUN that starts with `cd /folder &&`.

## Why
Each RUN starts in the folder of WORKDIR. A `cd` holds to the end of its own RUN; what is to hold for longer, or for
all that a RUN does, is easier to see (and to keep in one place) as a WORKDIR.

## Example
```dockerfile
FROM golang:1.23
RUN cd /src && go build ./...
WORKDIR /srv
```

## Use instead
```dockerfile
FROM golang:1.23
WORKDIR /src
RUN go build ./...
WORKDIR /srv
```
There is a fix where an absolute WORKDIR follows, so that nothing else notices. A `cd` in the midst of a RUN, into a
temporary folder or into one that the same RUN removes is fine.

## References
- https://docs.docker.com/build/building/best-practices/#workdir
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.named import is_trigger, named
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "cd-instead-of-workdir"
ALIASES = ("DL3003",)
SEVERITY = Severity.WARNING
CATEGORY = Category.STYLE
_TEMPORARY = re.compile(r"/(?:var/)?tmp(?:/|$)|/dev/shm")
_PLAIN = re.compile(r"/[\w./+-]*")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every RUN; hadolint speaks of any `cd`."""
    if settings.like_hadolint:
        told: set[Span] = set()
        for run, command in named(dockerfile, settings, ("cd",), triggers=False):
            if run.instruction.span not in told:
                told.add(run.instruction.span)
                message = "this folder is left at the end of the RUN: use WORKDIR"
                span = run.span(command.span)
                fix = _fix(dockerfile, run, command) if _could_be_workdir(run, command) else None
                yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)
        return
    for run in runs(dockerfile):
        parts = run.script.parts
        if is_trigger(dockerfile, run) or not parts:
            continue
        last, first = parts[-1].command, parts[0].command
        if last is not None and last.name == "cd" and not (len(parts) > 1 and parts[-2].operator == "||"):
            message = "nothing comes after this cd, and the next instruction does not start here: use WORKDIR"
            yield Finding(NAME, message, dockerfile.source, run.span(last.span), SEVERITY, CATEGORY, ALIASES)
        elif first is not None and _could_be_workdir(run, first):
            message = f"all of this runs in {first.texts[0]}: say so with WORKDIR"
            span = run.span(first.span)
            fix = _fix(dockerfile, run, first)
            yield Finding(NAME, message, dockerfile.source, span, Severity.STYLE, CATEGORY, ALIASES, fix)


def _could_be_workdir(run: Run, first: Command) -> bool:
    """Whether a RUN starts with ``cd /folder &&``, stays there, and leaves the folder where it is."""
    if not run.script.parts or first is not run.script.parts[0].command:
        return False
    if first.name != "cd" or first.wrappers or first.operator != "&&" or first.redirects or first.assignments:
        return False
    if len(first.words) != 2 or not _PLAIN.fullmatch(first.words[1].text or "") or not run.script.complete:
        return False
    if _TEMPORARY.match(first.words[1].text or ""):
        return False
    others = [command for command in run.script.commands if command is not first]
    return not any(command.name in ("cd", "pushd", "popd", "rm", "rmdir", None) for command in others)


def _fix(dockerfile: Dockerfile, run: Run, first: Command) -> Fix | None:
    """WORKDIR in front, where one that follows takes it back at once."""
    instruction = run.instruction
    if instruction.comments or instruction.heredocs or instruction.flags or len(run.script.parts) < 2:
        return None
    if any(part.operator in ("||", "&") for part in run.script.parts) or "OLDPWD" in run.script.text:
        return None
    following = _following(run)
    if following is None or following.keyword != "WORKDIR" or not following.words[0].text.startswith("/"):
        return None
    source = dockerfile.source
    typed = source.text[instruction.keyword_span.start : instruction.keyword_span.end]
    start = source.line_start(instruction.lines[0])
    workdir = f"{'workdir' if typed.islower() else 'WORKDIR'} {first.words[1].text}{source.newline}"
    gone = Span(run.span(first.span).start, run.span(run.script.parts[1].span).start)
    return Fix("use WORKDIR", (Edit(Span(start, start), workdir), Edit(gone, "")))


def _following(run: Run) -> Instruction | None:
    """The next instruction of the stage, broken or not."""
    later = (item for item in run.stage.instructions if item.span.start > run.instruction.span.start)
    found = next(later, None)
    return None if found is None or found.problems else found
