"""A cache mount that its own RUN empties or does not use.

## What it does
Finds a RUN with a cache mount for a package manager that also turns the manager's cache off (`--no-cache-dir`) or
empties it (`apt-get clean`, `npm cache clean`, `rm -rf` of the mounted folder).

## Why
The content of a cache mount never is in the image, so there is nothing to clean up. What is emptied here must be
downloaded again by the next build: the mount costs time and saves none.

## Example
```dockerfile
FROM python:3.13
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-cache-dir flask
```

## Use instead
```dockerfile
FROM python:3.13
RUN --mount=type=cache,target=/root/.cache/pip pip install flask
```
There is no fix where the clean-up decides whether the RUN succeeds, or where an ENV turns the cache off.

## References
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from buildopt.dockerfile.caches.cleanups import Drops, Refused, removals
from buildopt.dockerfile.caches.mounts import Mount, mounts
from buildopt.dockerfile.managers import APK, APT, MANAGERS, UV, Cache, Manager, Use
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.paths import word_path
from buildopt.dockerfile.passes.runs import Run, runs_by_family
from buildopt.dockerfile.shell import Command, Word
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "cache-mount-defeated"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CACHE
_EVERYTHING = re.compile(r"(?:/\*|/\*\*|/\*\.deb|/\.\*|/\{\*,\.\*\})*/*$")
# Clean-ups after which the cache still serves: they remove what nothing would use again.
_SPARING = frozenset(("autoclean", "auto-clean"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the RUN instructions that have cache mounts."""
    for runs in runs_by_family(dockerfile).values():
        for run in runs:
            if not run.instruction.flags or run.script is None or run.logical is None:
                continue
            there = [mount for mount in mounts(run.instruction) if mount.kind == "cache" and mount.target[:1] == "/"]
            if there:
                yield from _of_run(dockerfile, run, there)


def _of_run(dockerfile: Dockerfile, run: Run, there: Sequence[Mount]) -> Iterator[Finding]:
    held = {manager.name: _held(manager, run, there) for manager in MANAGERS if run.uses(manager)}
    emptied = [mount.target for mount in there] + [path for paths in held.values() for path in paths]
    if "/var/cache/apt" in emptied:
        emptied.append("/var/cache/apt/archives")
    for manager in MANAGERS:
        targets = held.get(manager.name)
        if not targets:
            continue
        for use in run.uses(manager):
            if use.is_cleanup and _empties(use, targets):
                yield _command(dockerfile, run, use.command, manager.name)
            elif use.uses_cache:
                yield from _options(dockerfile, run, use)
        yield from _variables(dockerfile, run, manager)
    for command in run.commands:
        if command.name != "rm" or not any("r" in option.lower() or "f" in option for option in command.options):
            continue
        for word in command.arguments:
            if _EVERYTHING.sub("", posixpath.normpath(word_path(word, run.state.home))) in emptied:
                yield _removal(dockerfile, run, command, word)


def _held(manager: Manager, run: Run, there: Sequence[Mount]) -> list[str]:
    """Those of the manager's caches, or of the folders that it uses instead, that lie in a mount."""
    found = [path for path in manager.leavings if any(mount.covers(path) for mount in there)]
    for cache in manager.caches:
        path = _path(cache, run, there)
        if path is not None and any(mount.covers(path) for mount in there):
            found.append(path)
    return found


def _path(cache: Cache, run: Run, there: Sequence[Mount]) -> str | None:
    state = run.state
    for variable, suffix in cache.moved_by:
        if variable in state.arguments:
            return None
        if variable in state.environment:
            value = state.environment[variable]
            return value.rstrip("/") + suffix if value else None
    if not cache.path.startswith("~"):
        return cache.path
    if state.home is not None:
        return state.home.rstrip("/") + cache.path[1:]
    # Where the home folder is not known, a mount that looks like the cache is meant to be it.
    return next((mount.target for mount in there if mount.target.endswith(cache.path[1:])), None)


def _empties(use: Use, targets: Sequence[str]) -> bool:
    """Whether a clean-up is one of a mounted folder."""
    if use.manager is APT:
        return use.subcommand not in _SPARING and "/var/cache/apt" in targets
    if use.manager.name == "go":
        options = {text.lstrip("-") for text in use.command.options}
        return ("modcache" in options and any(path.endswith("mod") for path in targets)) or (
            "cache" in options and any(not path.endswith("mod") for path in targets)
        )
    if use.manager is UV:
        return "clean" in use.command.texts
    return True


def _options(dockerfile: Dockerfile, run: Run, use: Use) -> Iterator[Finding]:
    for word in use.defeats():
        if word.text == "-n" and use.subcommand in ("run", "tool"):
            continue
        message = f"with {word.raw} {use.manager.name} does not use the cache mount: leave it out"
        # Without an index at hand, apk needs one.
        fix = None if use.manager is APK else _fix(run, Drops(words=[(use.command, word)]), f"remove {word.raw}")
        yield _finding(dockerfile, run, word.span, message, fix)


def _variables(dockerfile: Dockerfile, run: Run, manager: Manager) -> Iterator[Finding]:
    for name in manager.defeating_variables:
        uses = run.needs(manager)
        setting = next(
            (item for use in uses for item in use.command.environment if item.name == name and item.value.text != ""),
            None,
        )
        inherited = run.state.environment.get(name)
        if not uses or (setting is None and not inherited):
            continue
        span = setting.span if setting is not None else uses[0].command.span
        message = f"{name} is set, so {manager.name} does not use the cache mount: leave it out"
        yield _finding(dockerfile, run, span, message, None)


def _command(dockerfile: Dockerfile, run: Run, command: Command, name: str) -> Finding:
    shown = _shown(command)
    message = f"`{shown}` empties the cache mount of {name}, which is not part of the image: leave it out"
    return _finding(dockerfile, run, command.span, message, _fix(run, Drops(commands=[command]), f"remove `{shown}`"))


def _removal(dockerfile: Dockerfile, run: Run, command: Command, word: Word) -> Finding:
    message = f"`rm` of {word.raw} empties the cache mount, which is not part of the image: leave it out"
    return _finding(
        dockerfile, run, word.span, message, _fix(run, Drops(words=[(command, word)]), f"remove {word.raw}")
    )


def _fix(run: Run, drops: Drops, title: str) -> Fix | None:
    try:
        return Fix(title, tuple(removals(run, [drops])))
    except Refused:
        return None


def _shown(command: Command) -> str:
    return " ".join(word.raw for word in command.words)[:60]


def _finding(dockerfile: Dockerfile, run: Run, span: Span, message: str, fix: Fix | None) -> Finding:
    assert run.logical is not None
    place = run.logical.span(span.start, span.end)
    return Finding(NAME, message, dockerfile.source, place, SEVERITY, CATEGORY, ALIASES, fix)
