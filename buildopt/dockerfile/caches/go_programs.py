"""Whether what a container starts is a program that ``go build`` or ``go install`` has made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.manager import Use, word_set
from buildopt.dockerfile.managers import GO
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import State

_VALUED = word_set(
    "-C -asmflags -buildmode -compiler -covermode -coverpkg -gccgoflags -gcflags -installsuffix -ldflags -mod "
    "-modfile -overlay -p -pgo -pkgdir -tags -toolexec"
)
_VERSION = re.compile(r"v[0-9]+")


def outputs(runs: Sequence[Run], context: Path | None) -> frozenset[str]:
    """Where the programs may be that the runs build: ``-o`` may name a file, or a folder for it."""
    found: set[str] = set()
    for run in runs:
        folder = run.state.workdir
        for command in run.commands:
            if command.name == "cd" and command.depth == 0:
                target = command.texts[0] if len(command.arguments) == 1 and command.texts else None
                folder = posixpath.normpath(posixpath.join(folder, target)) if folder and target else None
            use = next((use for use in run.uses(GO) if use.command is command), None)
            if use is not None and use.subcommand in ("build", "install") and folder is not None:
                found.update(_outputs(use, run.state, folder, context))
    return frozenset(found)


def _outputs(use: Use, state: State, folder: str, context: Path | None) -> Iterator[str]:
    explicit, packages = "", list[str]()
    words = iter(use.rest)
    for word in words:
        text = word.text if word.text is not None else word.raw
        name, equals, value = text.partition("=")
        name = f"-{name.lstrip('-')}"
        if text.startswith("-") and not packages:
            if name in _VALUED | {"-o"} and not equals:
                following = next(words, None)
                value = (following.text or following.raw) if following is not None else ""
            if name == "-C":
                return
            if name == "-o":
                explicit = value
        else:
            packages.append(text)
    path = state.value(explicit.strip("\"'"), "\\") if explicit else ""
    if path is None:
        return
    names = list(_names(packages, folder, context))
    if use.subcommand == "install":
        yield from (f"/go/bin/{name}" for name in names)
        return
    place = posixpath.normpath(posixpath.join(folder, path))
    if explicit and not explicit.endswith("/"):
        yield place
    yield from (posixpath.join(place, name) for name in names)


def _names(packages: Sequence[str], folder: str, context: Path | None) -> Iterator[str]:
    """What the tool may call the programs."""
    for package in packages or ["."]:
        if package.endswith(".go"):
            yield posixpath.basename(package)[:-3]
            return
        path, _, _ = package.partition("@")
        if path.rstrip("/") not in (".", ""):
            parts = [part for part in path.split("/") if part]
            yield parts[-2] if len(parts) > 1 and _VERSION.fullmatch(parts[-1]) else parts[-1]
            continue
        module = _module(context)
        if module:
            yield module
        elif context is None:
            yield posixpath.basename(folder)


def _module(context: Path | None) -> str:
    try:
        text = read_text(context / "go.mod") if context is not None else ""
    except OSError:
        return ""
    match = re.search(r'^\s*module\s+"?([^\s"]+)', text, re.MULTILINE)
    parts = match.group(1).split("/") if match else [""]
    return parts[-2] if len(parts) > 1 and _VERSION.fullmatch(parts[-1]) else parts[-1]
