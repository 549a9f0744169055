"""The files of a build context with hashes of what BuildKit counts of them: content, mode, kind, target of a link.

Neither owner nor time counts. A file is read again only where its size, times or inode differ from when it was hashed.
Files that changed so lately that a further change might leave no trace in their times are read again the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from buildopt.dockerfile.context import Pattern, read_patterns
from buildopt.history import store

_BLOCK = 1 << 20
_RACY = 50_000_000
"""Nanoseconds in which a file may change twice with one and the same time."""
_COARSE = 2_000_000_000
"""The same where times have whole seconds."""
_CACHE_VERSION = 1
_MAX_FOLDERS = 8
_MAX_CACHE = 256 << 20
_MAX_LINKS = 40


class Found(NamedTuple):  # there may be many: a dataclass takes three times as long
    """A file, folder or link below a context, as its ``lstat`` shows it."""

    path: str
    mode: int
    size: int
    modified: int
    changed: int
    inode: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class Selection:
    """What an instruction reads of a context: ``sources`` as it names them, but for what ``excludes`` matches."""

    sources: tuple[str, ...]
    excludes: tuple[str, ...] = ()


@dataclass(slots=True)
class Hashes:
    """What is known of the content of files, by context folder and path. ``stopped``: hash no more."""

    known: dict[str, dict[str, list[int | str]]] = field(default_factory=dict)
    fresh: dict[str, dict[str, list[int | str]]] = field(default_factory=dict)
    stopped: Callable[[], bool] = lambda: False

    @classmethod
    def load(cls, path: Path) -> Hashes:
        """What an earlier build left; nothing where there is none or it is damaged."""
        with suppress(OSError, ValueError, zlib.error, RecursionError):
            reader = zlib.decompressobj()
            document = json.loads(reader.decompress(path.read_bytes(), _MAX_CACHE))
            if reader.eof and isinstance(document, dict) and document.get("version") == _CACHE_VERSION:
                folders = document.get("folders")
                if isinstance(folders, dict):
                    return cls({str(key): value for key, value in folders.items() if isinstance(value, dict)})
        return cls()

    def save(self, path: Path) -> None:
        """Leave it for the next build: what this one saw, and other folders as they were. Raises OSError."""
        if all(self.known.get(folder) == entries for folder, entries in self.fresh.items()):
            return
        folders = {**self.fresh, **{key: value for key, value in self.known.items() if key not in self.fresh}}
        folders = dict(list(folders.items())[:_MAX_FOLDERS])
        text = json.dumps({"version": _CACHE_VERSION, "folders": folders}, separators=(",", ":"))
        store.replace(path, zlib.compress(text.encode(), 1))

    def of(self, root: str, found: Found) -> str:
        """What stands for a file: kind and mode, size, and a hash. One whose content could not be looked at in time has
        ``~`` and its time in place of the hash, one that cannot be read ``!``."""
        kind = stat.S_IFMT(found.mode)
        mode = f"{found.mode & 0o7777:o}"
        if kind == stat.S_IFDIR:
            return f"d {mode}"
        if kind == stat.S_IFLNK:
            try:
                return f"l {os.readlink(os.path.join(root, found.path))}"
            except OSError:
                return "l !"
        if kind != stat.S_IFREG:
            return f"s {mode} {kind:o}"
        return f"f {mode} {found.size} {self._content(root, found)}"

    def _content(self, root: str, found: Found) -> str:
        entries = self.fresh.setdefault(root, {})
        state: list[int | str] = [found.size, found.modified, found.changed, found.inode]
        known = self.known.get(root, {}).get(found.path)
        if isinstance(known, list) and known[:4] == state and len(known) == 5 and isinstance(known[4], str):
            entries[found.path] = known
            return known[4]
        try:
            digest = self._read(os.path.join(root, found.path))
        except OSError:
            return "!"
        if digest is None:
            return f"~{found.modified}"
        coarse = found.modified % 1_000_000_000 == 0 and found.changed % 1_000_000_000 == 0
        if time.time_ns() - max(found.modified, found.changed) > (_COARSE if coarse else _RACY):
            entries[found.path] = [*state, digest]
        return digest

    def _read(self, path: str) -> str | None:
        if self.stopped():
            return None
        state = hashlib.sha256()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                state.update(block)
                if self.stopped():
                    return None
        return state.hexdigest()[:32]


@dataclass(slots=True)
class Context:
    """A context folder. It is looked through once, however many instructions read it."""

    root: str
    patterns: Sequence[Pattern] = ()
    _folders: dict[str, list[Found]] = field(default_factory=dict)
    _out: dict[str, bool] = field(default_factory=dict)  # folders that are left out but for something below them
    _any: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if self.patterns:
            self._any = re.compile("|".join(f"(?:{entry.expression.pattern})" for entry in self.patterns), re.DOTALL)

    def select(self, selection: Selection) -> list[Found]:
        """What is below the context and named by a selection, in order of path. What is not there is passed over."""
        found: dict[str, Found] = {}
        excludes = read_patterns("\n".join(selection.excludes)) or ()
        for source in selection.sources:
            for base in self._roots(source):
                for entry in self._below(base):
                    if not excludes or not _left_out(excludes, _inner(base, entry)):
                        found[entry.path] = entry
        return [found[path] for path in sorted(found)]

    def _roots(self, source: str) -> list[Found]:
        """The files and folders that a source names: with wildcards any number, a link's target beside the link."""
        path = posixpath.normpath("/" + source).lstrip("/")
        if not path:
            return [Found("", stat.S_IFDIR, 0, 0, 0, 0)]
        if not re.search(r"[*?\[\\]", path):
            return self._followed(path)
        roots = [""]
        parts = path.split("/")
        for number, part in enumerate(parts):
            expression = _component(part)
            if expression is None:
                return []
            entries = [entry for root in roots for entry in self._list(root)]
            named = [entry for entry in entries if expression.fullmatch(posixpath.basename(entry.path))]
            if number == len(parts) - 1:
                return [other for entry in named for other in self._followed(entry.path)]
            roots = [entry.path for entry in named if entry.is_folder]
        return []

    def _followed(self, path: str) -> list[Found]:
        found: list[Found] = []
        for _ in range(_MAX_LINKS):
            entry = self._one(path)
            if entry is None or any(entry.path == before.path for before in found):
                break
            found.append(entry)
            if not stat.S_ISLNK(entry.mode):
                break
            try:
                target = os.readlink(os.path.join(self.root, path))
            except OSError:
                break
            path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target)).lstrip("/")
        return found

    def _one(self, path: str) -> Found | None:
        parent = posixpath.dirname(path)
        return next((entry for entry in self._list(parent) if entry.path == path), None)

    def _below(self, base: Found) -> Iterable[Found]:
        if base.path:
            yield base
        if not base.is_folder:
            return
        waiting = [base.path]
        while waiting:
            for entry in self._list(waiting.pop()):
                if entry.is_folder:
                    waiting.append(entry.path)
                yield entry

    def _list(self, folder: str) -> list[Found]:
        """What a folder holds, without what the ignore file leaves out whole."""
        known = self._folders.get(folder)
        if known is not None:
            return known
        found = []
        with suppress(OSError), os.scandir(os.path.join(self.root, folder) if folder else self.root) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if not self._ignored(folder, path, stat.S_ISDIR(status.st_mode)):
                        found.append(_found(path, status))
        self._folders[folder] = found
        return found

    def _ignored(self, parent: str, path: str, folder: bool) -> bool:
        if self._any is None:
            return False
        # Where no pattern is about the path itself, it fares as the folder that it is in.
        out = _left_out(self.patterns, path) if self._any.fullmatch(path) else self._out.get(parent, False)
        if folder and out:
            self._out[path] = True
            return not any(pattern.keeps and pattern.reaches_below(path) for pattern in self.patterns)
        return out


def _found(path: str, status: os.stat_result) -> Found:
    return Found(path, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _inner(base: Found, entry: Found) -> str:
    """A path as ``--exclude`` sees it: from the source folder, or the name of a source that is a file."""
    return os.path.relpath(entry.path or ".", base.path or ".") if base.is_folder else posixpath.basename(entry.path)


def _left_out(patterns: Sequence[Pattern], path: str) -> bool:
    out = False
    for pattern in patterns:
        if pattern.keeps == out and pattern.matches(path):
            out = not pattern.keeps
    return out


def _component(part: str) -> re.Pattern[str] | None:
    """One component of a source with wildcards; as in Go, `**` is no more than `*`."""
    patterns = read_patterns(re.sub(r"\*+", "*", part))
    return patterns[0].expression if patterns else None


def listing(hashes: Hashes, root: str, found: Iterable[Found]) -> bytes:
    """Paths and what stands for them, as a listing that ``read_listing`` reads."""
    lines = [f"{hashes.of(root, entry)}\0{entry.path}" for entry in found]
    return "\n\0".join(lines).encode("utf-8", "surrogateescape")


def read_listing(data: bytes) -> dict[str, str]:
    """What a listing says: for each path what stands for it."""
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n\0"):
        state, zero, path = line.partition("\0")
        if zero:
            found[path] = state
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """What differs between two listings: (added, removed, changed or mode changed; path), and paths of which that is
    not known. The mode of a folder alone is of the second kind: BuildKit notices it only now and then."""
    found: list[tuple[str, str]] = []
    unknown: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old is None or new is None:
            found.append(("removed" if new is None else "added", path))
        elif old[0] == new[0] == "d" or _unsure(old, new):
            unknown.append(path)
        elif old[0] == new[0] == "f" and old.split(" ", 2)[2] == new.split(" ", 2)[2]:
            found.append(("mode changed", path))
        else:
            found.append(("changed", path))
    return found, unknown


def _unsure(old: str, new: str) -> bool:
    """Whether two files may be the same: equal mode and size, but the content of one was never looked at."""
    first, second = old.split(" "), new.split(" ")
    if first[0] != "f" or second[0] != "f" or first[:3] != second[:3]:
        return False
    return any(words[3][:1] in ("~", "!") for words in (first, second))
