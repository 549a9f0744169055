"""Keeps artifacts out of the build context without touching the user's files.

An artifact below the context would be sent to the engine with it, end up in ``COPY . .``, and break the cache each
time. A copy of the Dockerfile in the staging folder, with a ``.dockerignore`` of its own beside it, prevents that.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.build.output import HOME


@dataclass(frozen=True, slots=True)
class Ignore:
    """What the build must not see: ``hidden`` paths below the context, and ``base``, the ignore file in force."""

    hidden: tuple[str, ...] = ()
    base: bytes = b""

    @property
    def data(self) -> bytes:
        """The ignore file to use: the user's lines, then ours. The last match decides, so no ``!`` undoes them."""
        if not self.hidden:
            return self.base
        own = "".join(f"{pattern(path)}\n" for path in self.hidden).encode("utf-8", "surrogateescape")
        return self.base + (b"" if self.base.endswith(b"\n") or not self.base else b"\n") + own


def find(context: Path, dockerfile: Path, written: Sequence[Path], base: bytes | None = None) -> Ignore:
    """What must be hidden of the paths that a build writes; nothing where they lie elsewhere or are hidden already.

    ``base`` is an ignore file to use in place of the one in force.
    """
    paths = _below(context, written)
    nothing = Ignore((), base or b"")
    if not paths:
        return nothing
    data = in_force(context, dockerfile) if base is None else base
    return nothing if _hides(data, paths) else Ignore(paths, data)


def _below(context: Path, written: Sequence[Path]) -> tuple[str, ...]:
    """Paths relative to the context of what the build writes or earlier ones wrote. ``.buildopt`` is hidden whole."""
    root = Path(os.path.realpath(context))
    candidates = [Path(os.path.realpath(path.parent)) / path.name for path in written]
    if (root / HOME).is_dir():
        candidates.append(root / HOME / "image")
    found: dict[str, None] = {}
    for path in candidates:
        if root not in path.parents:
            continue
        parts = path.relative_to(root).parts
        if HOME in parts:
            parts = parts[: parts.index(HOME) + 1]
        found["/".join(parts)] = None
    return tuple(found)


def in_force(context: Path, dockerfile: Path) -> bytes:
    """The ignore file that BuildKit would read: the Dockerfile's own one, even an empty one, else the context's."""
    for path in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore"):
        try:
            return path.read_bytes()
        except OSError:
            continue
    return b""


def _hides(data: bytes, paths: tuple[str, ...]) -> bool:
    """Whether plain lines of an ignore file, none of them with a ``!``, name each path or a folder above it."""
    lines = data.decode("utf-8-sig", "surrogateescape").splitlines()
    lines = [line.strip() for line in lines if not line.startswith("#")]
    if any(line.startswith("!") for line in lines):
        return False
    plain = {posixpath.normpath(line).lstrip("/") for line in lines if line}
    return all(_parents(path) & plain for path in paths)


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}


def pattern(path: str) -> str:
    """A path as a pattern that matches it and nothing else."""
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", path)
    escaped = re.sub(r"[\r\n]", "?", escaped)
    # Spaces at the ends would be cut off; `#` and `!` mean something at the start.
    escaped = re.sub(r"^[ \t]+|[ \t]+$", lambda match: "?" * len(match[0]), escaped)
    return f"\\{escaped}" if escaped.startswith(("#", "!")) else escaped
