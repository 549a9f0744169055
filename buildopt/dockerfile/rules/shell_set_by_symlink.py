"""Another shell in the place of /bin/sh.

## What it does
Finds `ln` that puts a link at /bin/sh.

## Why
It changes the shell of every program of the image, not only of this build: scripts of the distribution are tested with
its own. SHELL sets the shell of the instructions that follow, and nothing else.

## Example
```dockerfile
RUN ln -sf /bin/bash /bin/sh
```

## Use instead
```dockerfile
SHELL ["/bin/bash", "-c"]
```

The fix is offered where the RUN does nothing else, and is unsafe: programs of the image keep their own /bin/sh.

## References
- https://docs.docker.com/reference/dockerfile/#shell
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import named
from buildopt.dockerfile.runs import Run
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "shell-set-by-symlink"
ALIASES = ("DL4005",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_SHELLS = frozenset(("bash", "dash", "zsh", "ksh"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every `ln`."""
    for run, command in named(dockerfile, settings, ("ln",)):
        names = [text for text in command.texts if not text.startswith("-")]
        if "/bin/sh" in (names if settings.like_hadolint else names[-1:]):
            message = "this replaces the shell of the whole image: set the shell of the build with SHELL"
            span = run.span(command.span)
            fix = _fix(run, names[0])
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _fix(run: Run, target: str) -> Fix | None:
    """SHELL in the place of a RUN that does nothing else."""
    shell = posixpath.join("/bin", target)
    alone = len(run.script.commands) == 1 and run.script.complete and not run.instruction.heredocs
    if not alone or posixpath.basename(shell) not in _SHELLS or run.instruction.flags or run.instruction.exec_form:
        return None
    if any(comment.inside for comment in run.instruction.comments) or run.script.comments:
        return None
    edit = Edit(run.instruction.span, f'SHELL ["{shell}", "-c"]')
    return Fix(f"set {shell} with SHELL", (edit,), safe=False)
