"""CMD or ENTRYPOINT that starts through a shell.

## What it does
Finds CMD and ENTRYPOINT in shell form.

## Why
The shell becomes process 1 and does not pass signals on: `docker stop` waits ten seconds and then kills the program,
which has no chance to end its work. The exec form starts the program itself.

## Example
```dockerfile
CMD python app.py --port 8080
```

## Use instead
```dockerfile
CMD ["python", "app.py", "--port", "8080"]
```
The fix is offered for simple words only and is unsafe: the process tree changes. A SHELL instruction of your own shows
that the shell is meant; this rule is then silent.

## References
- https://docs.docker.com/reference/build-checks/json-args-recommended/
- https://docs.docker.com/reference/dockerfile/#shell-and-exec-form
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.exec_form import exec_form_fix
from buildopt.dockerfile.model import Dockerfile
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
