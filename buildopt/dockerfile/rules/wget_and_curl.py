"""Both wget and curl.

## What it does
Finds a stage that uses wget and curl, and installs at least one of them itself.

## Why
One of them can do what the other does; the second brings its libraries into the image and is one more thing to keep
up to date. Where the base image has both, nothing is gained: this rule is then silent, and in stages of which no files
are kept.

## Example
```dockerfile
RUN apt-get update && apt-get install -y curl wget
RUN wget https://example.com/a.tar.gz
RUN curl -O https://example.com/b.tar.gz
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y curl
RUN curl -O https://example.com/a.tar.gz
RUN curl -O https://example.com/b.tar.gz
```

## References
- https://github.com/hadolint/hadolint/wiki/DL4001
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import is_trigger, named
from buildopt.dockerfile.packages import calls
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.scope import shipped_stages
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "wget-and-curl"
ALIASES = ("DL4001",)
SEVERITY = Severity.STYLE
CATEGORY = Category.SIZE
_BOTH = frozenset(("wget", "curl"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at each stage, and at the triggers of each stage for themselves."""
    shipped = shipped_stages(dockerfile)
    used: dict[tuple[int, bool], set[str]] = {}
    installed: dict[int, set[str]] = {}
    commands_of: dict[Span, list[Command]] = {}
    for run, command in named(dockerfile, settings, _BOTH):
        commands_of.setdefault(run.instruction.span, []).append(command)
    for run in all_runs(dockerfile) if commands_of else ():
        stage = run.stage.index
        if not settings.like_hadolint and stage not in shipped:
            continue
        installed.setdefault(stage, set()).update(_installed(run))
        commands = commands_of.get(run.instruction.span, [])
        trigger = is_trigger(dockerfile, run)
        seen = used.setdefault((stage, trigger), set())
        seen.update(command.name for command in commands if command.name)
        if not commands or seen != _BOTH or not (settings.like_hadolint or installed[stage]):
            continue
        message = "this stage uses both wget and curl: one of them is enough"
        span = run.span(commands[0].span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _installed(run: Run) -> set[str]:
    return {
        word.text
        for call in calls(run)
        if call.action in ("install", "add")
        for word in call.operands
        if word.text in _BOTH and word.text is not None
    }
