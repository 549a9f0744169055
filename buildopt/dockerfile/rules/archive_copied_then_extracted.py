"""An archive that is copied, then unpacked.

## What it does
Finds COPY of a tar archive that a later RUN of the stage unpacks.

## Why
ADD unpacks local tar archives by itself. COPY and `tar` leave the archive in a layer of its own for ever, even where a
later `rm` takes it out of sight: everyone pulls it along.

## Example
```dockerfile
COPY rootfs.tar.gz /tmp/
RUN tar -xzf /tmp/rootfs.tar.gz -C /srv
```

## Use instead
```dockerfile
ADD rootfs.tar.gz /srv/
```
What ADD cannot do is left alone: zip files, `--strip-components` and other choices, archives that are checked first.

## References
- https://docs.docker.com/reference/dockerfile/#adding-local-tar-archives
- https://docs.docker.com/build/building/best-practices/#add-or-copy
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.named import is_trigger
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.scope import walk
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "archive-copied-then-extracted"
ALIASES = ("DL3010",)
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_SPLIT = re.compile(r"[/\\]")
_HADOLINTS = re.compile(r"\.(?:tar|gz|bz2|xz|Z|lz|lzma|tgz|tb2|tbz|tbz2|tlz|tpz|txz|tZ)$")
_UNPACKERS = frozenset(("unzip", "gunzip", "bunzip2", "unlzma", "unxz", "zgz", "uncompress", "zcat", "gzcat"))
_TAR = re.compile(r"\.(?:tar(?:\.(?:gz|bz2|xz|zst|Z))?|tgz|tbz2?|tb2|txz|tzst)$")
# Letters of tar's options that say how it reads and what it prints; C and f take a word.
_LETTERS = re.compile(r"-?[xvzjJapfCZ]+")
_OPTIONS = re.compile(r"--(?:extract|get|verbose|gzip|bzip2|xz|zstd|file|directory|auto-compress)(?:=.*)?")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every COPY from the build context, and at what the RUN behind it unpack."""
    unpacked: dict[int, list[tuple[int, str]]] | None = None
    for stage, instruction, _ in walk(dockerfile):
        if instruction.keyword != "COPY" or instruction.flag("from") is not None or len(instruction.words) < 2:
            continue
        if settings.like_hadolint and stage.index < len(dockerfile.stages) - 1:
            continue  # it forgets what it has found when it comes to the next stage
        names = _names(instruction, settings)
        if not names:
            continue
        if unpacked is None:
            unpacked = _by_stage(dockerfile, settings)
        start = instruction.span.start
        name = next((text for at, text in unpacked.get(stage.index, ()) if at > start and text in names), None)
        if name is not None:
            message = f"ADD unpacks {name} itself, and leaves no copy of it in a layer"
            yield Finding(NAME, message, dockerfile.source, instruction.words[0].span, SEVERITY, CATEGORY, ALIASES)


def _names(instruction: Instruction, settings: LintSettings) -> set[str]:
    """What the archives that an instruction copies are called in the image."""
    heredocs = {heredoc.operator for heredoc in instruction.heredocs}
    words = [_last(word.text) for word in instruction.words if word.span not in heredocs]
    if settings.like_hadolint:
        target = words[-1]
        if _HADOLINTS.search(target):
            return {target}
        return {name for name in words[:-1] if _HADOLINTS.search(name) and "$" not in name}
    archives = {name for name in words[:-1] if _TAR.search(name) and not any(char in name for char in "$*?[")}
    return {words[-1]} if len(words) == 2 and archives and _TAR.search(words[-1]) else archives


def _last(path: str) -> str:
    return _SPLIT.split(path.strip("\"'"))[-1]


def _by_stage(dockerfile: Dockerfile, settings: LintSettings) -> dict[int, list[tuple[int, str]]]:
    """Where, and the last part of which path, the RUN of each stage unpack."""
    found: dict[int, list[tuple[int, str]]] = {}
    for run in all_runs(dockerfile):
        if not is_trigger(dockerfile, run):
            names = _seen(run) if settings.like_hadolint else _plainly(run)
            found.setdefault(run.stage.index, []).extend((run.instruction.span.start, name) for name in names)
    if not settings.like_hadolint:
        _without_checked(dockerfile, found)
    return found


def _seen(run: Run) -> Iterator[str]:
    for command in seen(run):
        tar = command.name == "tar" and command.has("x", "extract", "get")
        if tar or command.name in _UNPACKERS:
            yield from (_last(word) for word in command.words if not word.startswith("-"))


def _plainly(run: Run) -> Iterator[str]:
    """Archives that a ``tar`` unpacks whole."""
    for command in run.script.commands:
        if command.name == "tar" and command.texts and len(command.texts) == len(command.arguments):
            yield from _whole(command)


def _whole(command: Command) -> Iterator[str]:
    archive, extracts = None, False
    words = iter(command.texts)
    for index, word in enumerate(words):
        if word.startswith("--"):
            if not _OPTIONS.fullmatch(word):
                return
            name, equals, value = word.partition("=")
            extracts = extracts or name in ("--extract", "--get")
            if name == "--file":
                archive = value if equals else next(words, None)
            elif name == "--directory" and not equals:
                next(words, None)
        elif word.startswith("-") or index == 0:
            if not _LETTERS.fullmatch(word):
                return
            extracts = extracts or "x" in word
            for letter in word:
                if letter == "f":
                    archive = next(words, None)
                elif letter == "C":
                    next(words, None)
        else:
            return  # a member of the archive
    if archive and extracts:
        yield _last(archive)


def _without_checked(dockerfile: Dockerfile, found: dict[int, list[tuple[int, str]]]) -> None:
    """Take out what something else than ``tar`` and ``rm`` reads, to check it, most likely."""
    names = {name for pairs in found.values() for _, name in pairs}
    read = {
        (run.stage.index, name)
        for run in all_runs(dockerfile)
        for command in run.script.commands
        if command.name not in ("tar", "rm")
        for name in names
        if any(name in word.raw for word in command.arguments)
    }
    for index, pairs in found.items():
        found[index] = [pair for pair in pairs if (index, pair[1]) not in read]
