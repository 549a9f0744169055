"""RUN after RUN.

## What it does
Finds a RUN of one command directly after another such RUN with the same flags, in a stage that becomes an image.

## Why
Each makes a layer. Commands that belong together are one RUN: what one leaves behind the next can remove, and a pull
has fewer parts. In stages that only build it does not matter: there, separate steps are cached separately.

## Example
```dockerfile
RUN groupadd app
RUN useradd -g app app
```

## Use instead
```dockerfile
RUN groupadd app && \\
    useradd -g app app
```
The fix is unsafe: when the second command changes, the first one runs again. There is none where the first changes the
shell's state (`cd`, `export`) or a comment explains the second.

## References
- https://docs.docker.com/build/building/best-practices/#run
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.scope import shipped_stages
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "consecutive-runs"
ALIASES = ("DL3059",)
SEVERITY = Severity.STYLE
CATEGORY = Category.SIZE
# Commands that change the shell itself, which the next one would then see.
_STATEFUL = frozenset(
    (".", "cd", "exec", "exit", "export", "popd", "pushd", "set", "shopt", "source", "umask", "unset")
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at each pair of neighbours."""
    of_run = {run.instruction.span.start: run for run in runs(dockerfile)}
    shipped = shipped_stages(dockerfile)
    for previous, instruction in zip(dockerfile.instructions, dockerfile.instructions[1:], strict=False):
        if previous.keyword != "RUN" or instruction.keyword != "RUN" or previous.problems or instruction.problems:
            continue
        first, second = of_run.get(previous.span.start), of_run.get(instruction.span.start)
        if _flags(previous) != _flags(instruction):
            continue
        if not (_single(previous, first) and _single(instruction, second)):
            continue
        stage = dockerfile.stage_of(instruction)
        if not settings.like_hadolint and (stage is None or stage.index not in shipped or None in (first, second)):
            continue
        if not settings.like_hadolint and any("type=cache" in text for text in _flags(instruction)):
            continue  # apart, one is not run again because the other has changed; what they share is in the mount
        fix = None if first is None or second is None else _fix(dockerfile, first, second)
        message = "this RUN and the one before it can be one"
        yield Finding(NAME, message, dockerfile.source, instruction.keyword_span, SEVERITY, CATEGORY, ALIASES, fix)


def _flags(instruction: Instruction) -> tuple[str, ...]:
    return tuple(sorted(flag.text for flag in instruction.flags))


def _single(instruction: Instruction, run: Run | None) -> bool:
    """Whether a RUN is one command at most; an exec form is, and what another shell runs, as far as one sees."""
    if run is None:
        return instruction.exec_form or not any(char in instruction.arguments.text for char in ";|&")
    # As hadolint counts: no tests, and no programs whose name a variable holds.
    commands = (command for command in run.script.commands if command.name not in (None, "[", "[["))
    return sum("sh -c" not in command.context for command in commands) <= 1


def _fix(dockerfile: Dockerfile, first: Run, second: Run) -> Fix | None:
    for run in (first, second):
        script = run.script
        if run.instruction.heredocs or not script.complete or script.comments or len(script.parts) != 1:
            return None
        if script.parts[0].operator or script.parts[0].command is None or "#" in script.text:
            return None
        if any(comment.inside for comment in run.instruction.comments):
            return None
    command = first.script.commands[0]
    if command.name is None or command.name in _STATEFUL or not command.words:
        return None
    if any(not comment.inside for comment in second.instruction.comments):
        return None
    end = first.logical.span(len(first.logical.text), len(first.logical.text)).end
    start = second.logical.span(0, 1).start
    joint = f" && {dockerfile.escape}{dockerfile.source.newline}    "
    return Fix("join them", (Edit(Span(end, start), joint),), safe=False)
