"""Package lists of apt left in an image's layer.

## What it does
Finds a RUN that runs `apt-get update` and does not remove /var/lib/apt/lists, in a stage that becomes an image.

## Why
The lists (20 to 50 MB) are of no use in an image: they are outdated soon, and whoever installs more runs
`apt-get update` anyway. Removed by a later RUN they stay in the earlier layer. A cache or tmpfs mount on the folder
keeps them out of the image altogether; this rule is then silent.

## Example
```dockerfile
RUN apt-get update && apt-get install -y curl
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*
```
or keep them between builds and out of the image:
```dockerfile
RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked apt-get update && apt-get install -y curl
```
There is no fix where a later instruction installs packages without an update of its own.

## References
- https://docs.docker.com/build/building/best-practices/#apt-get
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run, apt_subcommand, runs
from buildopt.dockerfile.scope import shipped_stages
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "apt-lists-left"
ALIASES = ("DL3009",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_LISTS = "/var/lib/apt/lists"
_CLEAN_UP = "rm -rf /var/lib/apt/lists/*"


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the updates of the stages that become images."""
    shipped = shipped_stages(dockerfile)
    dependent = _stages_that_need_lists(dockerfile)
    for run in runs(dockerfile):
        if run.stage.index not in shipped or run.mounted(_LISTS):
            continue
        words = [(command, apt_subcommand(command)) for command in run.script.commands]
        update = next((command for command, word in words if word is not None and word.text == "update"), None)
        if update is None or _removed(run):
            continue
        needed = run.instruction.span.start < dependent.get(run.stage.index, -1)
        clean_up = f"sudo {_CLEAN_UP}" if "sudo" in update.wrappers else _CLEAN_UP
        edit = None if needed else _append(dockerfile, run, clean_up)
        fix = None if edit is None else Fix("remove the lists in the same RUN", (edit,))
        message = "the package lists of apt stay in this layer: remove /var/lib/apt/lists in the same RUN"
        span = run.span(update.span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _removed(run: Run) -> bool:
    """Whether some `rm` or `find -delete` names the folder or one above it."""
    for command in run.script.commands:
        if command.name not in ("rm", "find"):
            continue
        for word in command.arguments:
            if re.search(r"/var/lib/(?:apt(?:/lists)?(?:/|$|\*)|\*)|/var/lib/apt\b", word.raw):
                return True
            if re.search(r"/var/lib/\{[^}]*\bapt\b", word.raw) or re.search(r"\{[^}]*/var/lib/apt\b", word.raw):
                return True
    return False


def _stages_that_need_lists(dockerfile: Dockerfile) -> dict[int, int]:
    """By stage, the start of the last RUN that installs without an update; stages pass it on to their base."""
    needed: dict[int, int] = {}
    for run in runs(dockerfile):
        texts = [word.text for command in run.script.commands if (word := apt_subcommand(command)) is not None]
        first_install = next((index for index, text in enumerate(texts) if text in ("install", "build-dep")), None)
        if first_install is not None and "update" not in texts[:first_install]:
            needed[run.stage.index] = run.instruction.span.start
    for stage in reversed(dockerfile.stages):
        if stage.base_index is not None and stage.index in needed:
            needed[stage.base_index] = max(needed.get(stage.base_index, -1), needed[stage.index])
    return needed


def _append(dockerfile: Dockerfile, run: Run, clean_up: str) -> Edit | None:
    """The edit that adds the clean-up at the script's end; None where that is not plainly right."""
    script = run.script
    if not script.complete or not script.parts or script.comments:
        return None
    if script.parts[-1].operator or any(part.operator == "&" for part in script.parts):
        return None
    heredoc = run.instruction.lone_heredoc
    if heredoc is not None:
        if not re.search(r"^\s*set\s+-\w*e", run.logical.text, re.MULTILINE):
            return None  # without `set -e` one more command would hide the failure of the one before
        return Edit(run.logical.span(script.parts[-1].span.end, script.parts[-1].span.end), f"\n{clean_up}")
    if run.instruction.heredocs:
        return None
    end = run.logical.span(len(run.logical.text), len(run.logical.text))
    return Edit(end, f"{_joint(dockerfile, run)}&& {clean_up}")


def _joint(dockerfile: Dockerfile, run: Run) -> str:
    """A blank, or a new line in the way of the instruction's last one."""
    pieces = list(run.logical.pieces())
    text = dockerfile.source.text
    if len(pieces) < 2:
        return " "
    last = text[pieces[-1].start : pieces[-1].end]
    indent = last[: len(last) - len(last.lstrip(" \t"))] or "    "
    return f" {dockerfile.escape}{dockerfile.source.newline}{indent}"
