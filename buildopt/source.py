"""Text that is edited in place: whatever no edit touches stays byte for byte what it was.

Bytes that are not UTF-8 are kept through Python's ``surrogateescape``; line endings and a byte order mark are part of
the text.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.errors import UsageError

BOM = "\ufeff"
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of character offsets, ``start`` ≤ x < ``end``."""

    start: int
    end: int

    def overlaps(self, other: Span) -> bool:
        """Whether both share a character, one is an insertion inside the other, or both insert at one point."""
        return self == other or (self.start < other.end and other.start < self.end)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of ``span`` (empty: an insertion) by ``text``."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file. ``path`` is what people are shown; it need not exist."""

    path: str
    text: str
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts, position = [0], self.text.find("\n")
        while position != -1:
            starts.append(position + 1)
            position = self.text.find("\n", position + 1)
        object.__setattr__(self, "_starts", tuple(starts))

    @classmethod
    def from_bytes(cls, path: str, data: bytes) -> Source:
        """Decode ``data`` without loss."""
        return cls(path, data.decode("utf-8", "surrogateescape"))

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file. Raises UsageError where it is missing, no file, unreadable or larger than 8 MiB."""
        try:
            with open(path, "rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise UsageError(f"{path} does not exist", hint="check the path") from error
        except IsADirectoryError as error:
            raise UsageError(f"{path} is a folder, not a file", hint="name the file in it") from error
        except OSError as error:
            hint = _ADVICE.get(error.errno or 0, "check its permissions")
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
        if len(data) > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="this is hardly a text file")
        return cls.from_bytes(os.fspath(path), data)

    def to_bytes(self) -> bytes:
        """The exact bytes that were read."""
        return self.text.encode("utf-8", "surrogateescape")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1, columns in characters; a BOM is no column."""
        line = bisect_right(self._starts, offset)
        column = offset - self._starts[line - 1] + 1
        if line == 1 and self.text.startswith(BOM):
            column = max(1, column - 1)
        return line, column

    def line_start(self, line: int) -> int:
        """Offset of the first character of a line (from 1)."""
        return self._starts[line - 1]

    @property
    def newline(self) -> str:
        """The line ending that this file uses: that of its first line, a bare line feed if there is none."""
        end = self.text.find("\n")
        return "\r\n" if end > 0 and self.text[end - 1] == "\r" else "\n"

    def replace(self, text: str) -> Source:
        """The same file with other text."""
        return Source(self.path, text)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made. Raises ValueError where two overlap or one lies outside the text."""
    parts: list[str] = []
    position = 0
    previous: Edit | None = None
    for edit in sorted(edits, key=lambda item: item.span):
        if previous is not None and previous.span.overlaps(edit.span):
            raise ValueError(f"overlapping edits: {previous} and {edit}")
        if edit.span.start < position or edit.span.end > len(text) or edit.span.end < edit.span.start:
            raise ValueError(f"edit outside the text: {edit}")
        parts += (text[position : edit.span.start], edit.text)
        position, previous = edit.span.end, edit
    parts.append(text[position:])
    return "".join(parts)


def unified_diff(old: Source, new: Source) -> str:
    """A unified diff (as ``git apply`` reads it), empty where nothing changed."""
    import difflib

    path = old.path.lstrip("/")
    lines: list[str] = []
    for line in difflib.unified_diff(
        old.text.splitlines(keepends=True), new.text.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    ):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file whole or not at all, keeping its mode and owner; of a symbolic link, its target.

    What is no regular file (a terminal, a pipe, ``/dev/null``) is written to instead. A file that may not be written is
    left alone. Raises UsageError where it cannot be done.
    """
    try:
        if path.exists() and not path.is_file():
            with open(path, "wb") as stream:
                stream.write(data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint=_ADVICE.get(error.errno or 0, "check its permissions")
        ) from error


_ADVICE = {
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "check the path",
    errno.ELOOP: "check where the links lead to",
    errno.ENAMETOOLONG: "check the path",
    errno.EISDIR: "name a file",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
}


def _replace(target: Path, data: bytes) -> None:
    try:
        before = target.stat()
    except FileNotFoundError:
        before = None
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    import tempfile

    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if before is not None:
            with suppress(PermissionError):  # whoever is not root may only keep a group that they are in
                os.chown(name, before.st_uid, before.st_gid)
        os.chmod(name, stat.S_IMODE(before.st_mode) if before is not None else 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
