"""Files that configure a package manager, and may so move its cache."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.manager import Manager
from buildopt.dockerfile.model import Instruction, Stage
from buildopt.dockerfile.passes.runs import Run

# Where their files say so, what they install are links into the cache.
_LINKING = frozenset(("bun", "conda", "pdm", "uv"))


def not_configured(
    manager: Manager, stages: Sequence[Stage], runs: Sequence[Run], context: Path | None, *, cleans: bool
) -> None:
    """Raise No where a file that is copied or written moves the cache, or may do so and cannot be read.

    A mount that nothing uses does no harm; where clean-ups go for it (``cleans``), what they have removed would stay.
    """
    if not manager.configured_by:
        return
    names, moves = re.compile(manager.configured_by), re.compile(manager.configures)
    for stage in stages:
        for instruction in stage.instructions:
            if instruction.keyword in ("COPY", "ADD"):
                _copied(manager, instruction, context, names, moves, cleans or manager.name in _LINKING)
    for run in runs:
        for command in run.commands:
            words = [item.target for item in command.redirects if item.target is not None and ">" in item.operator]
            words += command.arguments if command.name in ("tee", "sed") else ()
            written = any(names.fullmatch(posixpath.basename((word.text or word.raw).strip("\"'"))) for word in words)
            if written and moves.search(re.sub(r"[\"']", "", run.text).replace("\\n", "\n").replace(" ", "\n")):
                raise No(run.line, f"what it writes moves the cache of {manager.name}")


def _copied(
    manager: Manager,
    instruction: Instruction,
    context: Path | None,
    names: re.Pattern[str],
    moves: re.Pattern[str],
    matters: bool,
) -> None:
    words = [word.text for word in instruction.words]
    line = instruction.lines[0]
    if len(words) < 2 or instruction.flag("from") is not None:
        return
    for heredoc in instruction.heredocs:
        if names.fullmatch(posixpath.basename(words[-1])) and moves.search(heredoc.body.text):
            raise No(line, f"{words[-1]} moves the cache of {manager.name}")
    for source in words[:-1]:
        name = posixpath.basename(source.rstrip("/"))
        if context is None:
            name = name.rstrip("*?")
            named = names.fullmatch(name) or names.fullmatch(posixpath.basename(words[-1]))
            if named and matters:
                raise No(line, f"{name} may move the cache of {manager.name}: give the build context to find out")
            continue
        for path in _files(context, source, names):
            text = _read(path)
            if text is None or moves.search(text):
                raise No(line, f"{path.name} moves the cache of {manager.name}")


def _files(context: Path, source: str, names: re.Pattern[str]) -> Iterator[Path]:
    """The configuration files that a source of the context is or holds, at its top."""
    path = context.joinpath(*[part for part in source.split("/") if part not in ("", ".", "..")])
    try:
        if path.is_dir():
            yield from (item for item in sorted(path.iterdir()) if names.fullmatch(item.name) and item.is_file())
        elif names.fullmatch(path.name) and path.is_file():
            yield path
    except (OSError, ValueError):
        return


def _read(path: Path) -> str | None:
    try:
        return read_text(path)
    except OSError:
        return None
