"""A build context that is copied whole, with nothing or too little left out of it.

## What it does
Finds `COPY . …` where no .dockerignore lies beside the Dockerfile, or one that lets in what no image needs although it
is there: `.git`, `.venv`, `__pycache__`; `node_modules`, `dist` and `target` where the build makes them itself. It
looks at the disk, says how much that is, and takes the Dockerfile's folder for the context: it is silent where a named
source is not there.

## Why
All of it is sent to the builder, and lies in the layer. Each change in it (a commit, a test run) makes the layer and
all that follow new, and what was installed for another system hides what the build installs.

## Example
```dockerfile
FROM node:22
WORKDIR /app
COPY . .
```

## Use instead
```dockerfile
FROM node:22
WORKDIR /app
COPY . .
```
with a .dockerignore beside it:
```dockerignore
.git
node_modules
```

## References
- https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.dockerfile.context import Ignored, ignored_by
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.runs import runs
from buildopt.dockerfile.scope import Scope, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "missing-dockerignore"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_WHOLE = frozenset((".", "./", "*", "./*", "/", "./."))
_ALWAYS = frozenset((".git", ".venv", "__pycache__"))
# Folders that are needless where the build makes them itself: beside which files they stand, and what makes them.
_MADE = {
    "node_modules": (("package.json",), frozenset(("npm", "yarn", "pnpm", "bun")), frozenset(("install", "ci", "i"))),
    "dist": (("package.json",), frozenset(("npm", "yarn", "pnpm", "bun", "vite", "webpack", "tsc")), frozenset()),
    "target": (("Cargo.toml", "pom.xml"), frozenset(("cargo", "mvn", "mvnw")), frozenset()),
}
_BUILDS = frozenset(("build", "compile", "package", "install", "verify"))
_MAX_ENTRIES = 20_000
_MAX_PARENTS = 8


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the first copy of everything, then at the disk."""
    found = _first_whole_copy(dockerfile)
    path = Path(dockerfile.source.path)
    if found is None or not _is_file(path):
        return
    own, common = path.with_name(f"{path.name}.dockerignore"), path.with_name(".dockerignore")
    ignored = ignored_by(dockerfile.source.path)
    if ignored is None and (_is_file(own) or _is_file(common)):
        return  # unreadable, or Docker refuses it
    named = _named_sources(dockerfile)
    if any(not _exists(path.parent / name) for name in named):
        return
    if ignored is None and not named and _is_ignored_from_above(path.parent):
        return
    waste = _Waste(path.parent, ignored, _needless(dockerfile, named))
    waste.measure()
    message = _message(ignored, waste)
    if message:
        yield Finding(NAME, message, dockerfile.source, found.span, SEVERITY, CATEGORY, ALIASES)


def _message(ignored: Ignored | None, waste: _Waste) -> str:
    names = sorted(waste.names)
    if not names:
        if ignored is not None:
            return ""
        return "without a .dockerignore, all that lies beside the Dockerfile is copied: list in one what no image needs"
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    amount = f"{'at least ' if waste.entries >= _MAX_ENTRIES else ''}{_human(waste.size)} of {shown}"
    if ignored is None:
        return f"no .dockerignore: {amount} needlessly sent to the build and copied: leave them out"
    return f"{ignored.path} lets in {amount} that no image needs: leave them out"


@dataclass(slots=True)
class _Waste:
    """What a context sends needlessly, measured until _MAX_ENTRIES files and folders have been seen."""

    context: Path
    ignored: Ignored | None
    needless: frozenset[str]
    size: int = 0
    entries: int = 0
    names: set[str] = field(default_factory=set)

    def measure(self) -> None:
        """Go through the context, the upper folders first."""
        folders = [""]
        while folders and self.entries < _MAX_ENTRIES:
            below: list[str] = []
            for folder in folders:
                below += self._folder(folder)
            folders = below

    def _folder(self, folder: str) -> Iterator[str]:
        """Add up what is needless in a folder; the other folders in it."""
        found = self._scan(folder)
        files = {entry.name for entry in found}
        for entry in found:
            if not entry.is_dir(follow_symlinks=False):
                continue
            path = f"{folder}{entry.name}"
            if self._hidden(path):
                continue
            if entry.name in self.needless and _stands_beside(entry.name, files):
                size = self._size(f"{path}/")
                if size:
                    self.size += size
                    self.names.add(entry.name)
            elif not entry.name.startswith("."):
                yield f"{path}/"

    def _size(self, folder: str) -> int:
        """The bytes of a folder's files. What an ignore file leaves out is looked up for the uppermost ones alone."""
        total, folders = 0, [folder]
        while folders:
            place = folders.pop()
            for entry in self._scan(place):
                if place == folder and self._hidden(f"{place}{entry.name}"):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{place}{entry.name}/")
                else:
                    total += _size(entry)
        return total

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        found: list[os.DirEntry[str]] = []
        try:
            with os.scandir(self.context / folder) as entries:
                for entry in entries:
                    if self.entries >= _MAX_ENTRIES:
                        break
                    self.entries += 1
                    found.append(entry)
        except OSError:
            pass  # what cannot be read is not sent either
        return found

    def _hidden(self, path: str) -> bool:
        return self.ignored is not None and self.ignored.hides(path)


def _stands_beside(name: str, files: set[str]) -> bool:
    return name not in _MADE or any(file in files for file in _MADE[name][0])


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _human(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _needless(dockerfile: Dockerfile, named: list[str]) -> frozenset[str]:
    """The names of folders that this build has no use for."""
    found = set(_ALWAYS)
    if ".git" in dockerfile.source.text or "git describe" in dockerfile.source.text:
        found.discard(".git")  # a version may be taken from it
    for run in runs(dockerfile):
        for command in run.script.commands:
            texts = command.texts
            if command.name == "git" and not {"clone", "config"} & set(texts):
                found.discard(".git")
            for name, (_, programs, subcommands) in _MADE.items():
                if command.name in programs and (
                    any(text in (subcommands or _BUILDS) or text.startswith("build") for text in texts)
                ):
                    found.add(name)
    return frozenset(found - {part for name in named for part in name.split("/")})


def _first_whole_copy(dockerfile: Dockerfile) -> Instruction | None:
    """The first COPY or ADD of the whole context."""
    for outer in dockerfile.instructions:
        instruction = outer.actual
        if _is_of_context(instruction) and instruction.flag("exclude") is None:
            sources = [word.text.strip("\"'") for word in instruction.words[:-1]]
            if any(source in _WHOLE for source in sources):
                return instruction
    return None


def _is_of_context(instruction: Instruction) -> bool:
    return (
        instruction.keyword in ("COPY", "ADD")
        and not instruction.problems
        and not instruction.heredocs
        and instruction.flag("from") is None
    )


def _named_sources(dockerfile: Dockerfile) -> list[str]:
    """What COPY and ADD take from the context by its plain name."""
    found = []
    for _, outer, scope in walk(dockerfile):
        if _is_of_context(outer.actual):
            for word in outer.actual.words[:-1]:
                name = _plain(word.text, scope)
                if name:
                    found.append(name)
    return found


def _plain(text: str, scope: Scope) -> str:
    expanded = scope.expand(text)
    name = expanded.text.lstrip("/") if expanded is not None and scope.certain(expanded) else ""
    return "" if name in _WHOLE or any(char in name for char in "*?[:\0") else name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_ignored_from_above(folder: Path) -> bool:
    """Whether a folder above, up to the repository's root, has a .dockerignore: it may be the context."""
    folder = Path(os.path.abspath(folder))
    for place in (folder, *folder.parents)[:_MAX_PARENTS]:
        if _is_file(place / ".dockerignore"):
            return True
        if _exists(place / ".git"):
            return False
    return False
