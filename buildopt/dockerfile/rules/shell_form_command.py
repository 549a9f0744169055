"""CMD or ENTRYPOINT that starts through a shell.

## What it does
Finds CMD and ENTRYPOINT in shell form, and what was meant to be the exec form of any instruction and is no JSON array:
single quotes, a missing comma or one too many.

## Why
The shell becomes process 1 and does not pass signals on: `docker stop` waits ten seconds and then kills the program,
which has no chance to end its work. The exec form starts the program itself. An array that is no JSON is a command
of the shell too, which then looks for a program named `[python,`.

## Example
```dockerfile
CMD python app.py --port 8080
```

## Use instead
```dockerfile
CMD ["python", "app.py", "--port", "8080"]
```
The fix is offered for simple words and broken arrays and is unsafe: the process tree changes. A SHELL instruction of
your own shows that the shell is meant; only broken arrays are found then.

## References
- https://docs.docker.com/reference/build-checks/json-args-recommended/
- https://docs.docker.com/reference/dockerfile/#shell-and-exec-form
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.broken_array import BrokenArray, broken_array
from buildopt.dockerfile.exec_form import exec_form_fix
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "shell-form-command"
ALIASES = ("DL3025", "JSONArgsRecommended")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every CMD and ENTRYPOINT; hadolint looks at health checks too, and does not mind SHELL."""
    for stage, instruction, scope in walk(dockerfile):
        keyword = instruction.keyword
        broken = None if settings.like_hadolint else broken_array(instruction.actual)
        if broken is not None:
            yield _broken(dockerfile, instruction, broken)
            continue
        if keyword not in ("CMD", "ENTRYPOINT", "HEALTHCHECK") or instruction.exec_form:
            continue
        if not instruction.words:  # it takes the base's command away, through a shell that has nothing to run
            span = instruction.keyword_span
            message = f"this {keyword} runs nothing: write {keyword} [] to take that of the base image away"
            yield Finding(NAME, message, dockerfile.source, span, Severity.STYLE, CATEGORY, ALIASES[1:])
            continue
        plain = keyword != "HEALTHCHECK" and not scope.shell_is_set
        if not plain and not (settings.like_hadolint and instruction.command_word in (None, "CMD")):
            continue
        message = f"this {keyword} runs in a shell, which passes no signals on: use the exec form"
        fix = exec_form_fix(stage, instruction) if plain else None
        span = instruction.words[0].span
        aliases = ALIASES if plain else ALIASES[:1]
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, aliases, fix)


def _broken(dockerfile: Dockerfile, instruction: Instruction, broken: BrokenArray) -> Finding:
    """hadolint and BuildKit see the shell form only, and not that of RUN or behind ONBUILD."""
    aliases = {"CMD": ALIASES, "ENTRYPOINT": ALIASES, "HEALTHCHECK": ALIASES[:1]}.get(instruction.keyword, ())
    message = f"this looks like a JSON array and is none, because of {broken.why}: the shell runs it as it stands"
    fix = broken.fix(instruction.actual)
    return Finding(NAME, message, dockerfile.source, broken.span, SEVERITY, CATEGORY, aliases, fix)
