"""A pipe whose first command may fail unseen.

## What it does
Finds RUN with a pipe where neither SHELL nor the script sets `pipefail`, and the left side may fail.

## Why
A pipe has the exit status of its last command. Where `curl` fails and `tar` or `sh` read nothing, the step counts as
done, and what is missing shows much later.

## Example
```dockerfile
FROM debian:12
RUN curl -fsSL https://example.com/install.sh | sh
```

## Use instead
```dockerfile
FROM debian:12
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN curl -fsSL https://example.com/install.sh | sh
```
The fix adds that SHELL where the base image is known to have bash (or ash: Alpine). It is unsafe: all later RUN and
the shell forms of CMD and ENTRYPOINT run in that shell too. `echo`, `printf` and the like on the left are no reason
to warn, nor is the condition of an `if`.

## References
- https://docs.docker.com/build/building/best-practices/#using-pipes
- https://www.gnu.org/software/bash/manual/html_node/Pipelines.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from buildopt.dockerfile.bases import base_of
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "pipe-without-pipefail"
ALIASES = ("DL4006",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
# These fail only where their output cannot be written, or do no more than change what they read.
_RELIABLE = frozenset(
    (
        *(":", "arch", "awk", "cut", "date", "echo", "env", "head", "id", "nproc", "printf", "pwd", "rev", "sed"),
        *("sort", "tac", "tail", "tee", "tr", "true", "uname", "uniq", "wc", "yes"),
    )
)
_PIPEFAIL = re.compile(r"-[a-zA-Z]*o\Z")
_SET = re.compile(r"\bset\b[^\n;|&]*\bpipefail\b|^#!.*\bpipefail\b")
_HAVE_BASH = frozenset(("debian", "ubuntu"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every pipe; one finding a RUN."""
    fixed: set[int] = set()
    for run in runs(dockerfile):
        piped = [command for command in run.script.commands if command.operator in ("|", "|&")]
        # Of a group in front of a pipe, the last command decides.
        groups = (part for part in run.script.parts if part.command is None and part.operator in ("|", "|&"))
        piped += [part.commands[-1] for part in groups if part.commands]
        if not piped:
            continue
        if settings.like_hadolint:
            outer = [command for command in piped if "sh -c" not in command.context]
            command = None if not outer or _passes_hadolint(run) else outer[0]
        else:
            safe = _has_pipefail(run.scope.shell) or _SET.search(run.logical.text) is not None
            command = None if safe else next((item for item in piped if _may_fail(item)), None)
        if command is None:
            continue
        fix = _fix(dockerfile, run) if run.stage.index not in fixed else None
        fixed.add(run.stage.index)
        message = f"a failure of {command.name or 'the first command'} goes unseen in a pipe: set pipefail"
        span = run.span(command.span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _has_pipefail(shell: Sequence[str]) -> bool:
    return any(_PIPEFAIL.match(option) and value == "pipefail" for option, value in pairwise(shell))


def _may_fail(command: Command) -> bool:
    if command.name is None or command.name in _RELIABLE:
        return False
    return not any(place in command.context for place in ("condition", "sh -c"))


def _passes_hadolint(run: Run) -> bool:
    """Whether hadolint is silent: a SHELL of this very stage whose program it knows, and no ONBUILD."""
    if not any(instruction is run.instruction for instruction in run.stage.instructions):
        return True
    own = any(
        instruction.keyword == "SHELL" and instruction.span < run.instruction.span
        for instruction in run.stage.instructions
    )
    program = run.scope.shell[0] if run.scope.shell else ""
    words = " ".join(run.scope.shell).split()
    return own and program.removeprefix("/bin/") in ("bash", "ash", "zsh") and _has_pipefail(words)


def _fix(dockerfile: Dockerfile, run: Run) -> Fix | None:
    """SHELL in a line before the RUN and its comments."""
    stage_has = any(instruction is run.instruction for instruction in run.stage.instructions)
    base = base_of(dockerfile, run.stage)
    if base is None or run.scope.shell_is_set or not stage_has:
        return None
    if base.distribution == "alpine":
        shell = '["/bin/ash", "-eo", "pipefail", "-c"]'
    elif base.distribution in _HAVE_BASH:
        shell = '["/bin/bash", "-o", "pipefail", "-c"]'
    else:
        return None
    above = [comment.span.start for comment in run.instruction.comments if not comment.inside]
    start = dockerfile.source.text.rfind("\n", 0, min((*above, run.instruction.span.start))) + 1
    edit = Edit(Span(start, start), f"SHELL {shell}{dockerfile.source.newline}")
    return Fix(f"add SHELL {shell}", (edit,), safe=False)
