"""Which Dockerfiles a command is about: those named, and those below a folder that git does not ignore."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError, UsageError

_NAMES = re.compile(r"(?:Dockerfile|Containerfile)(?:[-_.].+)?|.+\.(?:[Dd]ockerfile|[Cc]ontainerfile)", re.DOTALL)
# `Dockerfile.dockerignore`, editors' leftovers and documents are no Dockerfiles; templates are none yet.
_NOT = re.compile(
    r".*(?:~|\.(?:dockerignore|orig|rej|bak|swp|md|rst|txt|html|ya?ml|json|toml|lock|log|diff|patch|py|sh|go"
    r"|j2|jinja2?|erb|tmpl|tpl|template|gotmpl|mustache|hbs|in|m4))",
    re.DOTALL,
)
_SKIPPED_FOLDERS = frozenset((".git", ".hg", ".svn", "node_modules", ".venv", ".tox", ".buildopt", "__pycache__"))


def is_dockerfile_name(name: str) -> bool:
    """Whether a file of that name is taken for a Dockerfile when a folder is searched."""
    return _NAMES.fullmatch(name) is not None and _NOT.fullmatch(name) is None


def below(folder: Path) -> list[Path]:
    """All Dockerfiles below a folder in the order of their names. Raises UsageError where it cannot be searched."""
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be searched: Permission denied", hint="check its permissions")
    names = _of_git(folder)
    if names is None:
        names = _walked(folder)
    found = {folder / name if str(folder) != "." else Path(name) for name in names}
    return sorted(path for path in found if os.path.isfile(path))


def _of_git(folder: Path) -> list[str] | None:
    """Files that git knows or would add; None outside a checkout, or without git."""
    try:
        listed = process.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=folder, check=False, timeout=60
        )
    except ToolError:
        return None
    if listed.returncode != 0:
        return None
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [name for name in names if is_dockerfile_name(name.rsplit("/", 1)[-1])]


def _walked(folder: Path) -> list[str]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in files if is_dockerfile_name(name)]
    return found


def excluded(path: Path, patterns: Sequence[str], base: Path) -> bool:
    """Whether a glob matches the path as seen from ``base``, or a folder that it lies in, or its mere name."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(base)).replace(os.sep, "/")
    candidates = [relative, *_parents(relative), relative.rsplit("/", 1)[-1]]
    return any(pattern.fullmatch(candidate) for pattern in map(_glob, patterns) for candidate in candidates)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        yield path


def _glob(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within a folder, ``**`` goes through folders, a slash at the end means the folder."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./").rstrip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)


def unique(paths: Iterable[Path]) -> list[Path]:
    """Paths in their order, each file once."""
    seen: set[str] = set()
    kept = []
    for path in paths:
        key = os.path.abspath(path)
        if key not in seen:
            seen.add(key)
            kept.append(path)
    return kept
