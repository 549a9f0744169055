"""pip's download cache left in an image.

## What it does
Finds `pip install` that writes pip's cache into a layer of a stage that becomes an image.

## Why
pip keeps every wheel that it downloads or builds in ~/.cache/pip. In an image nothing ever reads it: it often is as
large as what was installed. A cache mount keeps it between builds and out of the image; this rule is then silent.

## Example
```dockerfile
RUN pip install -r requirements.txt
```

## Use instead
```dockerfile
RUN pip install --no-cache-dir -r requirements.txt
```
or, faster when something changes:
```dockerfile
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
```

## References
- https://pip.pypa.io/en/stable/topics/caching/
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import environment, installs_by_pip, mounts_on, seen
from buildopt.dockerfile.leftovers import read_elsewhere
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.scope import shipped_stages
from buildopt.dockerfile.shell import Command, Word, unquote
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "pip-cache-left-in-image"
ALIASES = ("DL3042",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SIZE
_PIP = re.compile(r"pip[0-9.]*")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")
_VARIABLE = "PIP_NO_CACHE_DIR"
_ASSIGNED = re.compile(rf"\b{_VARIABLE}=[\"']?(\w+)")
_CACHE = re.compile(r"\.cache(?:/?$|/?\*|/pip)")
_ON = frozenset(("1", "true", "yes", "on"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the installs of the stages that become images."""
    shipped = shipped_stages(dockerfile)
    for run in all_runs(dockerfile):
        if settings.like_hadolint:
            commands = list(_for_hadolint(run))
        elif run.stage.index not in shipped or _cache_is_elsewhere(run):
            continue
        else:
            commands = [command for command in run.script.commands if _caches(command)]
        for command in commands:
            word = _install(command)
            kept = any(text.startswith(("--cache-dir", "--no-cache-dir=")) for text in command.texts)
            fix = None
            if word is not None and run.exact(word) and not kept:
                safe = not read_elsewhere(dockerfile, run, _CACHE)
                fix = Fix("add --no-cache-dir", (run.insert_behind(word, " --no-cache-dir"),), safe)
            message = "pip's cache stays in this layer: use --no-cache-dir or a cache mount"
            span = run.span(command.span)
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _caches(command: Command) -> bool:
    # pip takes the start of an option for the whole.
    off = any(text in ("--no-cache-dir", "--no-cache-di", "--no-cache-d", "--no-cache") for text in command.texts)
    return _install(command) is not None and not off and not _disabled_here(command)


def _for_hadolint(run: Run) -> Iterator[Command]:
    """It looks at all stages, at any assignment in the script, and at mounts of .cache/pip."""
    if mounts_on(run, ".cache/pip") or (environment(run).get(_VARIABLE) or "").lower() in _ON:
        return
    if any(match[1].lower() in _ON for match in _ASSIGNED.finditer(run.script.text)):
        return
    for item in seen(run):
        if installs_by_pip(item) and item.name != "pipx" and "--no-cache-dir" not in item.words:
            yield item.command


def _install(command: Command) -> Word | None:
    """The word `install` of `pip install` or `python -m pip install`."""
    words = list(command.argv)
    if not words or command.name is None:
        return None
    if _PYTHON.fullmatch(command.name):
        for index, word in enumerate(words[:-1]):
            if word.text == "-m" and words[index + 1].text == "pip":
                words = words[index + 1 :]
                break
        else:
            return None
    elif not _PIP.fullmatch(command.name):
        return None
    found = next((word for word in words[1:] if word.text is None or not word.text.startswith("-")), None)
    return found if found is not None and found.text == "install" else None


def _is_on(value: str | None) -> bool:
    """Whether a value of PIP_NO_CACHE_DIR turns the cache off: pip takes even ``off`` for a yes, and none for a no."""
    return value != ""


def _disabled_here(command: Command) -> bool:
    return any(item.name == _VARIABLE and _is_on(item.value.text) for item in command.environment)


def _exported_on(command: Command) -> bool:
    parts = (word.raw.partition("=") for word in command.arguments)
    return any(name == _VARIABLE and _is_on(unquote(value)[0]) for name, equals, value in parts if equals)


def _cache_is_elsewhere(run: Run) -> bool:
    variables = run.scope.variables
    if _VARIABLE in variables and _is_on(variables[_VARIABLE]):
        return True
    for command in run.script.commands:
        if command.name == "export" and _exported_on(command):
            return True
        if command.texts[:2] == ("cache", "purge") or command.texts[:4] == ("-m", "pip", "cache", "purge"):
            return True
        if command.name == "rm" and any(
            re.search(r"\.cache(?:/pip)?(?:/?\*)?/?$", word.raw) for word in command.arguments
        ):
            return True
    return _mounted(run)


def _mounted(run: Run) -> bool:
    """Whether the cache folder lies in a mount: the configured one, or ~/.cache/pip of whatever user this is."""
    variables = run.scope.variables
    configured = variables.get("PIP_CACHE_DIR")
    if configured is None and variables.get("XDG_CACHE_HOME"):
        configured = f"{variables['XDG_CACHE_HOME']}/pip"
    if configured:
        return run.mounted(configured)
    homes = ["/root", *re.findall(r"target=(/[^\s,]*?)/\.cache", run.instruction.logical.text)]
    return any(run.mounted(f"{home}/.cache/pip") for home in homes) or any(
        "pip" in (flag.value or "") and "type=cache" in (flag.value or "")
        for flag in run.instruction.flags_named("mount")
    )
