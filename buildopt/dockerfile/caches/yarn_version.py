"""Whether the yarn of a build is the first one, whose cache nothing reads once packages are installed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from buildopt.dockerfile.files import json_value, read_text
from buildopt.dockerfile.model import Dockerfile

_LATER = re.compile(
    r"corepack(?!\s+(?:enable|prepare|use|install)\s+pnpm)|\.yarnrc\.yml|\.yarn/(?:releases|cache|plugins)|\.pnp\.|yarn\s+set\s+version|yarn\s+workspaces\s+focus"
    r"|yarn@(?:berry|stable|[2-9])|--immutable|yarn\s+plugin|yarn\s+dlx|YARN_VERSION[= ]+[2-9]"
)
_FIRST = re.compile(r"--(?:frozen-lockfile|production|prod|pure-lockfile|non-interactive|ignore-engines|no-lockfile)\b")


def first_yarn(dockerfile: Dockerfile, context: Path | None, runs: Iterable[str]) -> str:
    """Why it may be a later one; empty where it is the first."""
    if _LATER.search(dockerfile.source.text):
        return "this is a later yarn, whose packages may be needed when the program runs"
    if context is None:
        if any(_FIRST.search(text) for text in runs if "yarn" in text):
            return ""
        return "which yarn this is cannot be told without the build context"
    for path in (context, *_folders(context)):
        # In a folder that may not be looked into, nothing is found.
        if any(os.path.exists(path / name) for name in (".yarnrc.yml", ".pnp.cjs", ".yarn/releases")):
            return "this is a later yarn, whose packages may be needed when the program runs"
        lock = _read(path / "yarn.lock")
        if lock and "yarn lockfile v1" not in lock:
            return "this is a later yarn, whose packages may be needed when the program runs"
        if _manager(path).startswith("yarn@") and not _manager(path).startswith(("yarn@1", "yarn@0")):
            return "this is a later yarn, whose packages may be needed when the program runs"
    return ""


def _folders(context: Path) -> list[Path]:
    try:
        return sorted(item for item in context.iterdir() if item.is_dir() and not item.name.startswith("."))[:50]
    except OSError:
        return []


def _manager(folder: Path) -> str:
    """The ``packageManager`` of a package.json, empty where there is none."""
    try:
        data = json_value(_read(folder / "package.json") or "null")
    except ValueError:
        return ""
    value = data.get("packageManager") if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""


def _read(path: Path) -> str:
    try:
        return read_text(path) if path.is_file() else ""
    except OSError:
        return ""
