"""Where the files of an uncompressed tar lie: one pass over its headers that seeks past the bodies.

Written for untrusted input: only plain files and folders with plain relative names pass, each name once; a tar that
ends early is an error. The standard library's reader is more forgiving than an artifact deserves, and much slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import shown

RECORD = 512
MAX_FILES = 20_000
MAX_EXTENDED = 1 << 20
_LENGTH_DIGITS = len(str(MAX_EXTENDED))
_CUT_OFF = "it was not written to its end; build it again: buildopt build-once"
_TOO_MANY = "an image has some hundred at the most: unpack the tar and push its folder, if it is one"
_UNSAFE = "an artifact holds plain files only; do not trust this one"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
_PACKED = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
)


def entries(
    stream: IO[bytes], path: Path, tell: Callable[[ArtifactError], None] | None = None
) -> dict[str, tuple[int, int]]:
    """Offset and size of each file by its name. Raises ArtifactError for anything unsafe, damaged or no tar.

    With ``tell`` unsafe entries are told to it, one by one, and left out.
    """
    return entries_and_end(stream, path, tell)[0]


def entries_and_end(
    stream: IO[bytes], path: Path, tell: Callable[[ArtifactError], None] | None = None
) -> tuple[dict[str, tuple[int, int]], int]:
    """``entries``, and the offset at which the last one has ended."""
    fd, end = stream.fileno(), os.fstat(stream.fileno()).st_size
    found: dict[str, tuple[int, int]] = {}
    folders: set[str] = set()
    position, count, extended = 0, 0, dict[str, str]()
    while True:
        header = os.pread(fd, RECORD, position)
        if len(header) < RECORD:
            raise _cut_off(path) if position else _no_tar(path, header)
        if header == bytes(RECORD):
            return found, position
        _check_header(header, path, position)
        kind, body = header[156:157], position + RECORD
        size = _number(header[124:136], path)
        if kind in b"0\0" and "size" in extended:
            size = _decimal(extended["size"], path)
        if body + size > end:
            raise _cut_off(path)
        position = body + -(-size // RECORD) * RECORD
        count += 1
        if count > 2 * MAX_FILES:
            raise ArtifactError(f"{path} holds more than {2 * MAX_FILES} entries", hint=_TOO_MANY)
        try:
            if kind in (b"x", b"g", b"L"):
                if size > MAX_EXTENDED:
                    raise ArtifactError(f"{path} has a tar header of {size} bytes", hint=_UNSAFE)
                _extend(extended, _extended(os.pread(fd, size, body), kind, path), path)
                continue
            name, extended = extended.get("path") or _name(header), {}
            _add(_safe(name, kind, size, path), kind, (body, size), found, folders, path)
        except ArtifactError as error:
            if tell is None or error.hint != _UNSAFE:
                raise
            tell(error)


def _add(
    name: str,
    kind: bytes,
    place: tuple[int, int],
    found: dict[str, tuple[int, int]],
    folders: set[str],
    path: Path,
) -> None:
    """Note an entry. A name that stands twice is what each reader would take another one for."""
    if kind == b"5":
        if name in found:
            raise ArtifactError(f"{shown(name)} is a folder and a file in {path}", hint=_UNSAFE)
        folders.add(name)
        return
    if name in found:
        raise ArtifactError(f"{shown(name)} stands twice in {path}", hint=_UNSAFE)
    if name in folders:
        raise ArtifactError(f"{shown(name)} is a folder and a file in {path}", hint=_UNSAFE)
    if len(found) >= MAX_FILES:
        raise ArtifactError(f"{path} holds more than {MAX_FILES} files", hint=_TOO_MANY)
    found[name] = place


def _extend(extended: dict[str, str], more: dict[str, str], path: Path) -> None:
    """Add what a further header says of the next entry: readers differ in which of two names they take."""
    if extended.keys() & more.keys():
        raise ArtifactError(f"{path} has two extended tar headers for one entry", hint=_UNSAFE)
    extended |= more


def _check_header(header: bytes, path: Path, position: int) -> None:
    expected = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if _number(header[148:156], path, strict=False) != expected:
        if position == 0:
            raise _no_tar(path, header)
        raise ArtifactError(f"{path} is damaged: no tar header at byte {position}", hint=_CUT_OFF)


def _number(field: bytes, path: Path, *, strict: bool = True) -> int:
    """A number of a header: octal digits, or base 256 as GNU writes large ones."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.rstrip(b" \0").lstrip(b" ")
    if not text:
        return 0
    try:
        if not text.isdigit():
            raise ValueError
        return int(text, 8)
    except ValueError as error:
        if not strict:
            return -1
        raise ArtifactError(f"{path} is damaged: a tar header has no valid size", hint=_CUT_OFF) from error


def _decimal(text: str, path: Path) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ArtifactError(f"{path} is damaged: a tar header has no valid size", hint=_CUT_OFF)
    return int(text)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")


def _extended(data: bytes, kind: bytes, path: Path) -> dict[str, str]:
    """What an extended header says about the next entry (only ``path`` and ``size`` matter here)."""
    if kind == b"L":
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found: dict[str, str] = {}
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + _LENGTH_DIGITS + 1)
        length = data[start:space] if space > start else b""
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data) - start:
            raise ArtifactError(f"{path} is damaged: an extended tar header cannot be read", hint=_CUT_OFF)
        record, start = data[space + 1 : start + int(length)], start + int(length)
        key, _, value = record.rstrip(b"\n").partition(b"=")
        if key.startswith(b"GNU.sparse."):
            raise ArtifactError(f"{path} has a sparse file", hint=_UNSAFE)
        if key in (b"path", b"size"):
            if kind == b"g":
                raise ArtifactError(f"{path} has a global tar header that names files", hint=_UNSAFE)
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
    return found


def _safe(name: str, kind: bytes, size: int, path: Path) -> str:
    """The plain relative name of an entry that may be read."""
    if kind not in (b"0", b"\0", b"5"):
        raise ArtifactError(f"{shown(name)} in {path} is {_KINDS.get(kind, 'no plain file')}", hint=_UNSAFE)
    if name.startswith("/"):
        raise ArtifactError(f"{shown(name)} in {path} is an absolute name", hint=_UNSAFE)
    if "\0" in name or "\\" in name or ".." in name.split("/"):
        raise ArtifactError(f"{shown(name)} in {path} is not a plain name", hint=_UNSAFE)
    plain = "/".join(part for part in name.split("/") if part not in ("", "."))
    # Of both some readers make a folder, and others a file: they would go on at different places.
    if kind == b"5" and size:
        raise ArtifactError(f"{shown(name)} in {path} is a folder with content", hint=_UNSAFE)
    if kind != b"5" and (not plain or name.endswith(("/", "/."))):
        raise ArtifactError(f"{shown(name)} in {path} is a file with the name of a folder", hint=_UNSAFE)
    return plain


def _cut_off(path: Path) -> ArtifactError:
    return ArtifactError(f"{path} ends in the middle: the tar is cut off", hint=_CUT_OFF)


def _no_tar(path: Path, start: bytes) -> ArtifactError:
    import shlex

    for magic, name, program in _PACKED:
        if start.startswith(magic):
            return ArtifactError(
                f"{path} is not an OCI tar: it is compressed with {name}",
                hint=f"tars are read in place, so unpack it first: {program} -c {shlex.quote(str(path))} > image.tar",
            )
    return ArtifactError(
        f"{path} is not an OCI tar or layout folder",
        hint="give a folder or an uncompressed tar, such as buildopt build-once -o image.tar makes",
    )
