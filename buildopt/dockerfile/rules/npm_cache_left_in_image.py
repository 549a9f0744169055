"""npm's download cache left in an image.

## What it does
Finds a RUN that installs with npm and does not empty its cache, in a stage that becomes an image.

## Why
npm keeps every package that it downloads in ~/.npm as well. In an image nothing ever reads that: it often is as large
as what was installed. A cache mount keeps it between builds and out of the image; this rule is then silent.

## Example
```dockerfile
FROM node:22
RUN npm ci --omit=dev
```

## Use instead
```dockerfile
FROM node:22
RUN npm ci --omit=dev && npm cache clean --force
```
or, faster when something changes:
```dockerfile
FROM node:22
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev
```

## References
- https://docs.npmjs.com/cli/commands/npm-cache
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import mounts_on
from buildopt.dockerfile.leftovers import Keeper, clean_up, read_elsewhere
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.runs import Run
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "npm-cache-left-in-image"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_INSTALLS = word_set("install i add ci clean-install install-test it install-ci-test cit update up upgrade")
_IDLE = ("--cache", "--dry-run", "--package-lock-only", "-h", "--help", "-v", "--version")
_CLEANS = ("clean", "clear", "rm")
_REMOVED = re.compile(r"\.npm\b|\bnpm config get cache\b|^/root/?$|^/root/(?:\.n?)?\*|^(?:~|\$\{?HOME\}?)/\.?\*")
# The cache is put somewhere by a variable, or by npm's own settings.
_MOVED = re.compile(r"npm_config_cache\b|\bnpm config set (?:\S+ )*?cache\b|\bcache ?= ?\S+.*\.npmrc", re.IGNORECASE)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the installs of the stages that become images."""
    text = dockerfile.source.text
    if "npm" not in text or _MOVED.search(text):
        return
    for run, filling in _KEEPER.shipped(dockerfile):
        if mounts_on(run, "npm", "/.cache") or run.mounted("/root/.npm"):
            continue
        message = "the cache of npm stays in this layer: end the RUN with `npm cache clean --force`, or mount a cache"
        fix = _fix(dockerfile, run, filling)
        span = run.span(filling.command.span)
        yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _fix(dockerfile: Dockerfile, run: Run, filling: Call) -> Fix | None:
    if "offline" in dockerfile.source.text[run.instruction.span.end :]:
        return None  # a later command wants to find its packages in the cache
    safe = not read_elsewhere(dockerfile, run, _REMOVED)
    return clean_up(dockerfile, run, filling, "npm cache clean --force", safe=safe)


def _fills(call: Call) -> bool:
    return call.tool == "npm" and call.action in _INSTALLS and not call.has(*_IDLE)


def _cleans(call: Call) -> bool:
    return call.tool == "npm" and call.action == "cache" and bool(call.operands) and call.operands[0].text in _CLEANS


_KEEPER = Keeper(_fills, _cleans, _REMOVED)
