"""apk's package index left in an image.

## What it does
Finds a RUN with `apk add` or `apk update` that leaves the index of the repositories, in a stage that becomes an image.

## Why
The index (2 MB and more, which is much on Alpine) is of no use in an image: it is outdated soon. With `--no-cache` apk
reads the newest one and keeps nothing, so `apk update` is not needed either. Removed by a later RUN the index stays in
the earlier layer. A cache mount keeps it between builds and out of the image; this rule is then silent.

## Example
```dockerfile
FROM alpine:3.22
RUN apk update && apk add curl
```

## Use instead
```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

## References
- https://wiki.alpinelinux.org/wiki/Alpine_Package_Keeper
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildopt.dockerfile.hadolint import mounts_on, seen
from buildopt.dockerfile.leftovers import Keeper, later_runs, read_elsewhere
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call, call, calls
from buildopt.dockerfile.passes.runs import script_run
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.shell import Command, Part
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "apk-cache-left-in-image"
ALIASES = ("DL3019",)
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_CACHE = "/var/cache/apk"
_ADDS = ("add", "upgrade", "fix")
_READS = (*_ADDS, "fetch", "search", "list", "policy", "version", "dot")
_ELSEWHERE = ("--no-cache", "--cache-dir", "-p", "--root", "--no-network", "-h", "--help", "-s", "--simulate")
# Options with which apk does not read the index of the image.
_FRESH = ("--no-cache", "-U", "--update", "--update-cache", "-p", "--root", "--cache-dir", "-h", "--help")
_REMOVED = re.compile(r"\b(?:var/(?:\*|\{[^}]*\bcache\b|cache(?:/?$|/?\*|.*apk))|etc/apk/cache|APKINDEX)")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the RUN instructions of the stages that become images; hadolint does at all stages."""
    if settings.like_hadolint:
        for run in all_runs(dockerfile):
            for command in _theirs(run):
                yield _finding(dockerfile, run, command)
        return
    for run, filling in _KEEPER.shipped(dockerfile):
        if not _mounted(run):
            found = [item for item in calls(run) if _fills(item) and item.action != "update"]
            yield _finding(dockerfile, run, found[0].command if found else filling.command)


def _finding(dockerfile: Dockerfile, run: Run, command: Command) -> Finding:
    message = "the package index of apk stays in this layer: use apk add --no-cache"
    found = call(command)
    if found is not None and found.action == "update":
        message = "apk update leaves the package index in this layer: use apk add --no-cache, which needs no update"
    fix = _fix(dockerfile, run)
    return Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES, fix)


def _fills(found: Call) -> bool:
    return found.tool == "apk" and found.action in (*_ADDS, "update") and not found.has(*_ELSEWHERE)


def _cleans(found: Call) -> bool:
    return found.tool == "apk" and found.action == "cache"


_KEEPER = Keeper(_fills, _cleans, _REMOVED)


def _mounted(run: Run) -> bool:
    return run.mounted(_CACHE) or run.mounted("/etc/apk/cache") or mounts_on(run, "apk")


def _fix(dockerfile: Dockerfile, run: Run) -> Fix | None:
    """``--no-cache`` for what installs in the RUN; and no update before it, where nobody else needs that."""
    filling = [found for found in calls(run) if _fills(found)]
    if _mounted(run):
        return None
    adds = [found.anchor for found in filling if found.action != "update" and found.anchor is not None]
    if not all(run.exact(word) for word in adds):
        return None
    edits = [run.insert_behind(word, " --no-cache") for word in adds]
    updates = [found.command for found in filling if found.action == "update"]
    dropped = [edit for command in updates if (edit := _without(run, command)) is not None]
    read = read_elsewhere(dockerfile, run, _REMOVED)
    if updates and len(dropped) == len(updates) and not _reads(run) and not _needed_later(dockerfile, run):
        return Fix("use --no-cache and no apk update", (*dropped, *edits), not (read or _opaque(dockerfile, run)))
    if not edits:
        return None
    fetched = any(found.has(*_FRESH) for found in filling)
    kept = bool(updates) or not fetched or not (_reads(run) or _needed_later(dockerfile, run))
    return Fix("add --no-cache", tuple(edits), kept and not read)


def _reads(run: Run) -> bool:
    """Whether a command of the RUN reads the index without installing anything."""
    return any(
        found.tool == "apk" and found.action in _READS and found.action not in _ADDS and not found.has(*_FRESH)
        for found in calls(run)
    )


def _without(run: Run, command: Command) -> Edit | None:
    """The edit that takes `apk update &&` out."""
    parts = run.script.parts
    place = next((index for index, part in enumerate(parts) if part.command is command), None)
    if place is None or place == len(parts) - 1 or not run.script.complete or run.instruction.exec_form:
        return None
    before = parts[place - 1].operator if place else ""
    if parts[place].operator not in ("&&", ";", "\n") or before not in ("", "&&", ";", "\n"):
        return None
    if before == "&&" and parts[place].operator != "&&":
        return None  # what follows would be bound to what comes before
    if command.redirects or command.assignments or command.negated or _follows_or(parts[place + 1 :]):
        return None
    if "!" in run.script.text[command.span.end : parts[place + 1].span.start]:
        return None  # the span of what follows does not hold its `!`
    if any(command.span.end <= comment.start < parts[place + 1].span.start for comment in run.script.comments):
        return None
    span = run.logical.span(command.span.start, parts[place + 1].span.start)
    if any(span.overlaps(comment.span) for comment in run.instruction.comments):
        return None
    return Edit(span, "")


def _follows_or(parts: Sequence[Part]) -> bool:
    return any(part.operator == "||" for part in parts)


def _needed_later(dockerfile: Dockerfile, run: Run) -> bool:
    """Whether a later apk reads the index that this RUN fetches."""
    for later in later_runs(dockerfile, run):
        for found in calls(later):
            if found.tool == "apk" and found.action == "update":
                break  # it fetches its own
            if found.tool == "apk" and found.action in _READS and not found.has(*_FRESH):
                return True
    return False


def _opaque(dockerfile: Dockerfile, run: Run) -> bool:
    """Whether a script is started, here or later, that may call apk and rely on the index."""
    return any(
        script_run(command, each.logical.text) is not None
        for each in (run, *later_runs(dockerfile, run))
        for command in each.script.commands
    )


def _theirs(run: Run) -> Iterator[Command]:
    if mounts_on(run, _CACHE):
        return
    for item in seen(run):
        if item.runs(("apk",), ("add",)) and not item.has("no-cache"):
            yield item.command
