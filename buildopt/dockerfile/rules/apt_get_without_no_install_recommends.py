"""`apt-get install` without `--no-install-recommends`.

## What it does
Finds `apt-get install` that also takes the packages that Debian only recommends.

## Why
Recommended packages (documentation viewers, mail servers, X libraries) are rarely of use in an image. They often double
its size, and each of them is one more thing to download, store and patch.

## Example
```dockerfile
RUN apt-get update && apt-get install -y curl
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y --no-install-recommends curl ca-certificates
```
The fix is unsafe: a program may need what was only recommended (as curl needs `ca-certificates`). Name such packages.

## References
- https://docs.docker.com/build/building/best-practices/#apt-get
- https://manpages.debian.org/stable/apt/apt-get.8.en.html
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen, seen
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.runs import Run, all_runs, apt_settings, apt_subcommand
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "apt-get-without-no-install-recommends"
ALIASES = ("DL3015",)
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_TITLE = "add --no-install-recommends"


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    for run in all_runs(dockerfile):
        if settings.like_hadolint:
            commands = [item.command for item in seen(run) if _for_hadolint(item)]
        else:
            commands = [command for command in run.script.commands if _takes_all(dockerfile, run, command)]
        for command in commands:
            word = apt_subcommand(command)
            fix = None
            if word is not None and run.exact(word):
                fix = Fix(_TITLE, (run.insert_behind(word, " --no-install-recommends"),), safe=False)
            message = "recommended packages are installed too: use --no-install-recommends"
            span = run.span(command.span)
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _takes_all(dockerfile: Dockerfile, run: Run, command: Command) -> bool:
    word = apt_subcommand(command)
    if word is None or word.text != "install":
        return False
    if any(text.partition("=")[0].endswith("install-recommends") for text in command.texts):
        return False
    if "apt::install-recommends" in apt_settings(command):
        return False
    return not _configured(dockerfile, run.stage, run.instruction.span)


def _for_hadolint(item: Seen) -> bool:
    if not item.runs(("apt-get",), ("install",)):
        return False
    return not (item.has("no-install-recommends") or "APT::Install-Recommends=false" in item.words)


def _configured(dockerfile: Dockerfile, stage: Stage, until: Span) -> bool:
    """Whether something up to this instruction speaks of the setting: a line for apt.conf.d, usually."""
    current: Stage | None = stage
    end = until.end
    while current is not None:
        if "install-recommends" in dockerfile.source.text[current.origin.span.start : end].lower().replace(
            "--no-install-recommends", ""
        ):
            return True
        if current.base_index is None:
            return False
        current = dockerfile.stages[current.base_index]
        end = current.instructions[-1].span.end
    return False
