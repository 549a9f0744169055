"""A whole distribution upgraded by zypper.

## What it does
Finds `zypper dist-upgrade` (`dup`). It is silent where the base is openSUSE Tumbleweed, which knows
no other way to update.

## Why
`dist-upgrade` moves every package to another release of the distribution, replaces some by those of other vendors and
removes what does not fit. What the image then is depends on the day of the build, and no longer on its base.

## Example
```dockerfile
FROM opensuse/leap:15.6
RUN zypper -n dist-upgrade
```

## Use instead
```dockerfile
FROM opensuse/leap:16.0
RUN zypper -n patch && zypper clean -a
```

## References
- https://en.opensuse.org/SDB:Zypper_manual
- https://en.opensuse.org/SDB:System_upgrade
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.packages import calls
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "zypper-dist-upgrade"
ALIASES = ("DL3035",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_ACTIONS = ("dist-upgrade", "dup")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every zypper of every stage."""
    for run in all_runs(dockerfile):
        for command in _theirs(run) if settings.like_hadolint else _ours(dockerfile, run):
            message = "zypper dist-upgrade makes another release of the distribution: start from that release instead"
            span = run.span(command.span)
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _ours(dockerfile: Dockerfile, run: Run) -> Iterator[Command]:
    for call in calls(run):
        wanted = call.tool == "zypper" and call.action in _ACTIONS and not call.has("--dry-run", "--help", "-h")
        if wanted and not _rolls(dockerfile, run.stage):
            yield call.command


def _rolls(dockerfile: Dockerfile, stage: Stage) -> bool:
    """Whether the stage starts from a distribution that has no releases, as far as its name tells."""
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
    return stage.image is not None and any(name in stage.image.text.lower() for name in ("tumbleweed", "microos"))


def _theirs(run: Run) -> Iterator[Command]:
    for item in seen(run):
        if item.runs(("zypper",), _ACTIONS):
            yield item.command
