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

## References
- https://docs.docker.com/reference/dockerfile/#shell
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import named
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "shell-set-by-symlink"
ALIASES = ("DL4005",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every `ln`."""
    for run, command in named(dockerfile, settings, ("ln",)):
        names = [text for text in command.texts if not text.startswith("-")]
        if "/bin/sh" in (names if settings.like_hadolint else names[-1:]):
            message = "this replaces the shell of the whole image: set the shell of the build with SHELL"
            span = run.span(command.span)
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)
