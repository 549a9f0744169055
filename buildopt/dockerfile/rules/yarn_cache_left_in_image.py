"""yarn's download cache left in an image.

## What it does
Finds a RUN that installs with yarn 1 and does not empty its cache, in a stage that becomes an image.

## Why
yarn keeps every package that it downloads once more beside node_modules. In an image nothing ever reads that: it often
is as large as what was installed. A cache mount keeps it between builds and out of the image; this rule is then silent.

## Example
```dockerfile
FROM node:22
RUN yarn install --frozen-lockfile
```

## Use instead
```dockerfile
FROM node:22
RUN yarn install --frozen-lockfile && yarn cache clean
```
or, faster when something changes:
```dockerfile
FROM node:22
RUN --mount=type=cache,target=/usr/local/share/.cache/yarn,sharing=locked yarn install --frozen-lockfile
```
The rule is silent where the file speaks of a newer yarn, whose programs may be read from its cache when they run.

## References
- https://classic.yarnpkg.com/lang/en/docs/cli/cache/
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen, mounts_on, ships_for_hadolint
from buildopt.dockerfile.leftovers import Keeper, clean_up, left_for_hadolint
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.scope import of_the_last_file
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "yarn-cache-left-in-image"
ALIASES = ("DL3060",)
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_INSTALLS = ("", "install", "add", "upgrade", "global add", "global upgrade")
_IDLE = ("--cache-folder", "-v", "--version", "-h", "--help")
_REMOVED = re.compile(r"\.cache(?:/?$|/?\*|/yarn)|\byarn cache dir\b|\byarn-cache")
_NEWER = re.compile(
    r"\.yarnrc\.yml|\.yarn\b|\.pnp\b|\bcorepack\b|--immutable\b|\bworkspaces focus\b|\byarn dlx\b|\byarn set version\b|"
    r"\byarn@(?:[2-9]|berry|stable)|YARN_VERSION[= ]\W?[2-9]"
)
_MOVED = re.compile(r"YARN_CACHE_FOLDER|XDG_CACHE_HOME|\bcache-folder\b")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the installs of the stages that become images."""
    if settings.like_hadolint:
        for run in all_runs(dockerfile):
            command = _theirs(run) if ships_for_hadolint(dockerfile, run) else None
            if command is not None:
                yield _finding(dockerfile, run, command, _KEEPER.left(run))
        return
    if "yarn" not in dockerfile.source.text or not _is_plain(dockerfile):
        return
    for run, filling in _KEEPER.shipped(dockerfile):
        if not _mounted(run):
            yield _finding(dockerfile, run, filling.command, filling)


def _finding(dockerfile: Dockerfile, run: Run, command: Command, filling: Call | None) -> Finding:
    message = "the cache of yarn stays in this layer: end the RUN with `yarn cache clean`, or mount a cache"
    fix = None if filling is None else _fix(dockerfile, run, filling)
    return Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES, fix)


def _fix(dockerfile: Dockerfile, run: Run, filling: Call) -> Fix | None:
    if _mounted(run) or not _is_plain(dockerfile) or "offline" in dockerfile.source.text[run.instruction.span.end :]:
        return None  # a later command may want to find its packages in the cache
    return clean_up(dockerfile, run, filling, f"{filling.command.name} cache clean", safe=False)


@of_the_last_file
def _is_plain(dockerfile: Dockerfile) -> bool:
    """Whether this is yarn 1 with its cache where it always is, as far as the file tells."""
    text = dockerfile.source.text
    return not _NEWER.search(text) and not _MOVED.search(text)


def _mounted(run: Run) -> bool:
    return mounts_on(run, "yarn", "/.cache") or run.mounted("/usr/local/share/.cache/yarn")


def _fills(call: Call) -> bool:
    if call.tool != "yarn" or call.action not in _INSTALLS or call.has(*_IDLE):
        return False
    return bool(call.action) or not call.operands  # a variable may be any subcommand


def _cleans(call: Call) -> bool:
    return call.tool == "yarn" and call.action == "cache clean"


_KEEPER = Keeper(_fills, _cleans, _REMOVED)


def _theirs(run: Run) -> Command | None:
    if mounts_on(run, ".cache/yarn"):
        return None

    def fills(item: Seen) -> bool:
        # `yarn install cache` counts as a clean-up.
        return item.runs(("yarn",), ("install",)) and not item.runs(("yarn",), ("cache", "clean"))

    return left_for_hadolint(run, fills, lambda item: item.runs(("yarn",), ("cache", "clean")))
