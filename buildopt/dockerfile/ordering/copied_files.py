"""What COPY and ADD bring into an image: which file of the build context lies where."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.context import Ignored, read_patterns
from buildopt.dockerfile.files import read_data, read_text
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import Scope, joined

_GLOB = re.compile(r"[*?\[\\]")
_REMOTE = re.compile(r"(?:https?|git|ssh|ftp)://|git@")
_ARCHIVE = re.compile(r".*\.(?:tar|tgz|tbz2?|txz|tar\.\w+|gz|xz|bz2|zst)")
_PLAIN_FLAGS = frozenset(("chown", "chmod", "link"))


class Unknown(Exception):
    """Something that decides is not known; the message says what."""


@dataclass(frozen=True, slots=True)
class ContextFiles:
    """The files of a build context that a build can see; paths are relative to it, ``.`` is the context itself."""

    root: Path
    ignored: Ignored | None

    def kind(self, path: str) -> str:
        """``file``, ``folder``, ``link`` (or something below a linked folder), or empty: nothing to see there."""
        path = posixpath.normpath(path)
        if path.startswith("../") or path == ".." or posixpath.isabs(path):
            return ""
        if self.ignored is not None and path != "." and self.ignored.hides(path):
            return ""
        parts = [] if path == "." else path.split("/")
        try:
            for count in range(1, len(parts) + 1):
                mode = os.lstat(self.root.joinpath(*parts[:count])).st_mode
                if stat.S_ISLNK(mode):
                    return "link"
            mode = os.lstat(self.root.joinpath(*parts)).st_mode
        except (OSError, ValueError):
            return ""
        if stat.S_ISDIR(mode):
            return "folder"
        out = self.ignored is not None and self.ignored.leaves_out(path)
        return "file" if stat.S_ISREG(mode) and not out else ""

    def names(self, folder: str) -> list[str]:
        """What can be seen in a folder."""
        try:
            found = sorted(os.listdir(self.root / folder))
        except (OSError, ValueError):
            return []
        return [name for name in found if self.kind(posixpath.normpath(posixpath.join(folder, name)))]

    def text(self, path: str) -> str:
        """A file's text. Raises Unknown where it cannot be read, or is too large for what it is taken for."""
        try:
            data = read_data(self.root / path)
        except OSError:
            raise Unknown(f"{path} cannot be read") from None
        # What PowerShell's `pip freeze > requirements.txt` writes.
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return data.decode("utf-16" if wide else "utf-8-sig", "replace" if wide else "surrogateescape")

    def matches(self, pattern: str) -> list[str]:
        """The paths that a pattern of COPY stands for, itself where it holds no wildcard."""
        if _GLOB.search(pattern) is None:
            return [pattern]
        found = ["."]
        for part in pattern.split("/"):
            patterns = read_patterns(part) if _GLOB.search(part) else None
            expression = patterns[0].expression if patterns and not patterns[0].keeps else None
            if _GLOB.search(part) and (expression is None or "**" in part or "\\" in part):
                raise Unknown(f"what {pattern} stands for is not known")
            found = [
                posixpath.normpath(posixpath.join(folder, name))
                for folder in found
                for name in (self.names(folder) if expression is not None else [part])
                if expression is None or expression.fullmatch(name)
            ]
        return [path for path in found if self.kind(path)]


def context_files(dockerfile: Dockerfile, context: Path) -> ContextFiles:
    """What a build of this file sees. Raises Unknown where its ignore file is malformed."""
    own = Path(f"{dockerfile.source.path}.dockerignore")
    for candidate in (own, context / ".dockerignore"):
        try:
            if not candidate.is_file():
                continue
            text = read_text(candidate, "utf-8-sig", "surrogateescape")
        except (OSError, ValueError):
            raise Unknown(f"{candidate.name} cannot be read") from None
        patterns = read_patterns(text)
        if patterns is None:
            raise Unknown(f"{candidate.name} is malformed")
        return ContextFiles(context, Ignored(candidate.name, tuple(patterns)))
    return ContextFiles(context, None)


@dataclass(frozen=True, slots=True)
class Landing:
    """One path of the context and where it goes: a file, or a folder whose content goes into another."""

    instruction: Instruction
    origin: str
    place: str
    folder: bool


def landings(files: ContextFiles, instruction: Instruction, scope: Scope, folder: str) -> list[Landing]:
    """What one COPY or ADD of the context brings; ``folder`` is the working folder. Raises Unknown."""
    shown = instruction.keyword
    strange = next((flag.name for flag in instruction.flags if flag.name not in _PLAIN_FLAGS), None)
    if strange is not None:
        raise Unknown(f"what {shown} --{strange} copies is not known here")
    if instruction.heredocs:
        raise Unknown(f"{shown} writes a file of its own between them")
    words = [_expanded(scope, word.text, shown) for word in instruction.words]
    last = words[-1]
    destination = joined(folder, last)
    if destination is None:
        raise Unknown(f"where {shown} copies to is not known")
    found: list[Landing] = []
    origins = []
    for word in words[:-1]:
        if _REMOTE.match(word):
            raise Unknown(f"{shown} {word} brings files that are not in the context")
        origins += files.matches(posixpath.normpath(f"/{word}").lstrip("/") or ".")
    into = last.endswith(("/", "/.")) or last in (".", "..") or len(origins) > 1
    for origin in origins:
        kind = files.kind(origin)
        if kind == "link":
            raise Unknown(f"{origin} is a symbolic link")
        if instruction.keyword == "ADD" and _ARCHIVE.fullmatch(origin) and kind == "file":
            raise Unknown(f"ADD may unpack {origin}")
        if kind == "folder":
            found.append(Landing(instruction, origin, destination, folder=True))
        elif kind == "file":
            place = posixpath.join(destination, posixpath.basename(origin)) if into else destination
            found.append(Landing(instruction, origin, place, folder=False))
            if not into:  # where that is a folder already, the file goes into it
                below = posixpath.join(destination, posixpath.basename(origin))
                found.append(Landing(instruction, origin, below, folder=False))
    return found


def _expanded(scope: Scope, text: str, shown: str) -> str:
    result = scope.expand(text)
    if result is None or not result.text:
        raise Unknown(f"what {shown} {text} stands for is not known")
    return result.text


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of the context in an image. Paths are absolute, those of the image; of two copies the later counts."""

    files: ContextFiles
    landings: Sequence[Landing]

    def origin(self, place: str) -> str | None:
        """The context's path of what lies there, None where nothing of the context does."""
        for landing in reversed(self.landings):
            if not landing.folder:
                if landing.place == place:
                    return landing.origin
                continue
            below = _below(place, landing.place)
            if below is None:
                continue
            candidate = posixpath.normpath(posixpath.join(landing.origin, below))
            if self.files.kind(candidate):
                return candidate
        return None

    def kind(self, place: str) -> str:
        """``file``, ``folder``, ``link`` or empty."""
        origin = self.origin(place)
        return "" if origin is None else self.files.kind(origin)

    def is_file(self, place: str) -> bool:
        """Whether a file lies there. Raises Unknown for a symbolic link."""
        kind = self.kind(place)
        if kind == "link":
            raise Unknown(f"{self.origin(place)} is a symbolic link")
        return kind == "file"

    def text(self, place: str) -> str | None:
        """The text of a file, None where there is none. Raises Unknown."""
        origin = self.origin(place)
        return self.files.text(origin) if self.is_file(place) and origin is not None else None

    def names(self, place: str) -> list[str]:
        """What lies in a folder of the image, as far as it comes from the context."""
        found: set[str] = set()
        for landing in self.landings:
            if landing.folder:
                below = _below(place, landing.place)
                if below is not None:
                    found.update(self.files.names(posixpath.normpath(posixpath.join(landing.origin, below))))
            inside = _below(landing.place, place)
            if inside not in (None, "."):
                found.add(str(inside).split("/")[0])
        return sorted(found)

    def touches(self, place: str) -> bool:
        """Whether something of the context lies there or below."""
        return bool(self.kind(place)) or any(_below(landing.place, place) is not None for landing in self.landings)

    def walk(self, place: str, depth: int = 8) -> Iterator[str]:
        """All files below a folder, folders of installed packages left out."""
        for name in self.names(place):
            path = posixpath.join(place, name)
            kind = self.kind(path)
            if kind == "folder" and depth and name not in ("node_modules", ".git", "vendor"):
                yield from self.walk(path, depth - 1)
            elif kind == "file":
                yield path


def _below(path: str, folder: str) -> str | None:
    """The path relative to a folder that holds it (``.`` for itself), None where it lies elsewhere."""
    if path == folder:
        return "."
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else None
