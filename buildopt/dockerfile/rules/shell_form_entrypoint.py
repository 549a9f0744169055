"""ENTRYPOINT that starts through a shell.

## What it does
Finds ENTRYPOINT in shell form.

## Why
The shell becomes process 1 and does not pass signals on: `docker stop` waits ten seconds and then kills the program,
which has no chance to end its work. The exec form starts the program itself.

## Example
```dockerfile
ENTRYPOINT python app.py --port 8080
```

## Use instead
```dockerfile
ENTRYPOINT ["python", "app.py", "--port", "8080"]
```
The fix is offered for simple words only and is unsafe: the process tree changes. A SHELL instruction of your own shows
that the shell is meant; this rule is then silent.

## References
- https://docs.docker.com/reference/build-checks/json-args-recommended/
- https://docs.docker.com/reference/dockerfile/#shell-and-exec-form
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.exec_form import shell_form_findings
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "shell-form-entrypoint"
ALIASES = ("DL3025", "JSONArgsRecommended")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every ENTRYPOINT."""
    for message, span, fix in shell_form_findings(dockerfile, "ENTRYPOINT"):
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)
