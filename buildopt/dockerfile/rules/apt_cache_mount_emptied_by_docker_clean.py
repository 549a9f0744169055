"""A cache mount for apt that Debian's images empty.

## What it does
Finds an install of apt with a cache mount on /var/cache/apt in an image of Debian or Ubuntu whose configuration deletes
every package as soon as it is installed.

## Why
Docker's images of Debian and Ubuntu have /etc/apt/apt.conf.d/docker-clean, which removes downloaded packages after each
run of apt. The mount is empty each time: nothing is saved.

## Example
```dockerfile
FROM debian:12
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked apt-get update && apt-get install -y curl
```

## Use instead
```dockerfile
FROM debian:12
RUN rm -f /etc/apt/apt.conf.d/docker-clean \\
    && echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked apt-get update && apt-get install -y curl
```
The fix is unsafe: an install without the mount then leaves its packages in the image.

## References
- https://docs.docker.com/reference/dockerfile/#example-cache-apt-packages
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.caches.apt_packages import keep_packages
from buildopt.dockerfile.caches.mounts import mounts
from buildopt.dockerfile.managers import APT
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.runs import Run, runs_by_family
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "apt-cache-mount-emptied-by-docker-clean"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CACHE
_INSTALLS = frozenset(("install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "reinstall"))
_SPEAKS = ("docker-clean", "Keep-Downloaded-Packages", "apt.conf", "Post-Invoke", "/etc/apt/*")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at apt's installs with a mount."""
    for runs in runs_by_family(dockerfile).values():
        fixed: set[int] = set()
        for run in runs:
            if not run.instruction.flags or not _is_mounted(run) or not _deletes(run):
                continue
            if _is_configured(dockerfile, run.stage, run):
                continue
            install = next((use for use in run.uses(APT) if use.subcommand in _INSTALLS), None)
            if install is None:
                continue
            flag = next(flag for flag in run.instruction.flags_named("mount") if "/var/cache" in (flag.value or ""))
            message = (
                "this image deletes packages right after their installation (docker-clean), so the cache mount stays "
                "empty: remove /etc/apt/apt.conf.d/docker-clean first"
            )
            # One RUN before the first one serves all that follow.
            stages = _below(dockerfile, run.stage)
            fix = None
            if not fixed.intersection(stages) and not _copies_configuration(dockerfile, stages):
                fix = Fix("let apt keep its packages", (keep_packages(dockerfile, run),), safe=False)
                fixed.add(run.stage.index)
            yield Finding(NAME, message, dockerfile.source, flag.span, SEVERITY, CATEGORY, ALIASES, fix)


def _is_mounted(run: Run) -> bool:
    there = [mount for mount in mounts(run.instruction) if mount.target]
    if any(mount.target.startswith("/etc/apt") or mount.target == "/etc" for mount in there):
        return False
    return any(mount.kind == "cache" and mount.covers("/var/cache/apt/archives") for mount in there)


def _deletes(run: Run) -> bool:
    """Whether it is an image of Debian or Ubuntu whose configuration is known."""
    base = run.state.base
    return base.distribution in ("debian", "ubuntu") and base.runs_as_root


def _below(dockerfile: Dockerfile, stage: Stage) -> list[int]:
    """A stage and those that it starts from."""
    found = [stage.index]
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
        found.append(stage.index)
    return found


def _is_configured(dockerfile: Dockerfile, stage: Stage, run: Run) -> bool:
    """Whether this RUN or anything before it says something about what apt keeps, or runs what nobody can read."""
    stages = _below(dockerfile, stage)
    for index in stages:
        for instruction in dockerfile.stages[index].instructions:
            if instruction.span.start > run.instruction.span.start:
                break
            if instruction.keyword in ("RUN", "COPY", "ADD", "ENV"):
                text = dockerfile.source.text[instruction.span.start : instruction.span.end]
                if any(word in text for word in _SPEAKS):
                    return True
    return _copies_configuration(dockerfile, stages)


def _copies_configuration(dockerfile: Dockerfile, stages: list[int]) -> bool:
    """Whether a COPY or ADD goes to apt's configuration."""
    return any(
        instruction.keyword in ("COPY", "ADD")
        and instruction.words
        and instruction.words[-1].text.startswith(("/etc/apt", "/etc/"))
        and "sources" not in instruction.words[-1].text
        for index in stages
        for instruction in dockerfile.stages[index].instructions
    )
