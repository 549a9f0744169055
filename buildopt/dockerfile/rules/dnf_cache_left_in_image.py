"""dnf's or yum's cache left in an image.

## What it does
Finds a RUN that installs with `dnf`, `yum` or `microdnf` and does not end with a clean-up, in a stage that becomes an
image.

## Why
The metadata of the repositories (often more than 100 MB) and sometimes the packages stay in /var/cache. They are of no
use in an image: whoever installs more fetches them anew. Removed by a later RUN they stay in the earlier layer. A cache
mount keeps them between builds and out of the image; this rule is then silent.

## Example
```dockerfile
RUN dnf install -y curl
```

## Use instead
```dockerfile
RUN dnf install -y curl && dnf clean all
```
or, faster when something changes:
```dockerfile
RUN --mount=type=cache,target=/var/cache/libdnf5,sharing=locked dnf install -y curl
```

## References
- https://dnf.readthedocs.io/en/latest/command_ref.html#clean-command
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen, mounts_from
from buildopt.dockerfile.leftovers import Keeper, clean_up, later_calls, left_for_hadolint, read_elsewhere
from buildopt.dockerfile.managers import DNF, word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "dnf-cache-left-in-image"
ALIASES = ("DL3032", "DL3040")
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_INSTALLS = word_set(
    "install in update up upgrade upgrade-minimal up-min update-minimal groupinstall localinstall localupdate "
    "reinstall rei distro-sync dsync downgrade dg swap builddep build-dep"
) | {"group install", "group update", "group upgrade", "module install", "module update"}
_ELSEWHERE = ("--installroot", "--downloadonly", "-C", "--cacheonly", "--help", "-h", "--assumeno")
_REMOVED = re.compile(r"\bvar/(?:\*|\{[^}]*\bcache\b|cache(?:/?$|/?\*|.*(?:yum|dnf)))")
_THEIR_DNF = word_set("install in upgrade up upgrade-minimal up-min reinstall rei")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the installs of the stages that become images; hadolint does at all stages."""
    if settings.like_hadolint:
        for run in all_runs(dockerfile):
            for command in _theirs(run):
                yield _finding(dockerfile, run, command, _KEEPER.left(run))
        return
    for run, filling in _KEEPER.shipped(dockerfile):
        if not _mounted(run):
            yield _finding(dockerfile, run, filling.command, filling)


def _finding(dockerfile: Dockerfile, run: Run, command: Command, filling: Call | None) -> Finding:
    name = command.name or "dnf"
    message = f"the cache of {name} stays in this layer: end the RUN with `{name} clean all`, or mount a cache"
    aliases = ("DL3032",) if name == "yum" else ("DL3040",)
    fix = None if filling is None else _fix(dockerfile, run, filling)
    return Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, aliases, fix)


def _fix(dockerfile: Dockerfile, run: Run, filling: Call) -> Fix | None:
    if _mounted(run) or any(later.has("-C", "--cacheonly") for later in later_calls(dockerfile, run)):
        return None
    safe = not read_elsewhere(dockerfile, run, _REMOVED)
    return clean_up(dockerfile, run, filling, f"{filling.command.name} clean all", safe=safe)


def _mounted(run: Run) -> bool:
    return any(run.mounted(cache.path) for cache in DNF.caches)


def _fills(call: Call) -> bool:
    if call.tool != "dnf" or call.action not in _INSTALLS or call.has(*_ELSEWHERE):
        return False
    return not any("cachedir" in (option.value.raw if option.value else "") for option in call.options)


def _cleans(call: Call) -> bool:
    return call.tool == "dnf" and call.action == "clean" and [word.text for word in call.operands] != ["expire-cache"]


_KEEPER = Keeper(_fills, _cleans, _REMOVED)


def _theirs(run: Run) -> Iterator[Command]:
    def yum_cleans(item: Seen) -> bool:
        return item.runs(("yum",), ("clean", "all")) or item.runs(("rm",), ("-rf", "/var/cache/yum/*"))

    found = [left_for_hadolint(run, lambda item: item.runs(("yum",), ("install",)), yum_cleans)]
    if not mounts_from(run, "/var/cache/libdnf5"):
        for tool in ("dnf", "microdnf"):
            found.append(_theirs_of(run, tool))
    yield from (command for command in found if command is not None)


def _theirs_of(run: Run, tool: str) -> Command | None:
    return left_for_hadolint(
        run,
        lambda item: item.runs((tool,), _THEIR_DNF),
        lambda item: item.runs((tool,), ("clean", "all")) or item.runs(("rm",), ("-rf",)),
    )
