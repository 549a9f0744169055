"""Reads files out of images: as they are, or without what differs between two builds of one and the same thing."""

from __future__ import annotations

import gzip
import hashlib
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import IO, cast

from buildopt.oci import layout as oci
from buildopt.prove.flatten import Entry, Place, contents
from buildopt.prove.image import Image

_BLOCK = 1 << 20
_IN_MEMORY = 8 << 20
_PYTHON_HEADER = 16  # magic number, flags, and time and size (or hash) of the source
_DEPTH = 3  # archives in archives
_ARCHIVE = re.compile(r".*\.(?:jar|war|ear|zip|whl|egg|nupkg|aar)", re.IGNORECASE)
_TEXT_LIMIT = 4 << 20


def kind_of(path: str) -> str:
    """What a file's name says that may hold times: ``archive``, ``gzip``, ``python``, or nothing."""
    if _ARCHIVE.fullmatch(path):
        return "archive"
    if path.endswith((".gz", ".tgz", ".svgz")):
        return "gzip"
    return "python" if path.endswith((".pyc", ".pyo")) else ""


def timeless(image: Image, paths: Iterable[str]) -> dict[str, str]:
    """A digest of each file's content without the times in it; those of an unknown kind are left out."""
    entries = {path: image.tree[path] for path in paths if kind_of(path) and path in image.tree}
    wanted: dict[Place, str] = {entry.place: kind_of(path) for path, entry in entries.items()}
    digests = {}
    for place, stream in _streams(image, wanted):
        digest = _timeless(wanted[place], stream)
        if digest:
            digests[place] = digest
    return {path: digests[entry.place] for path, entry in entries.items() if entry.place in digests}


def texts(image: Image, tree: Mapping[str, Entry], paths: Iterable[str]) -> dict[str, bytes]:
    """Contents of small files of an image."""
    entries = {path: tree[path] for path in paths if path in tree and tree[path].kind == "file"}
    wanted = {entry.place: path for path, entry in entries.items() if entry.size <= _TEXT_LIMIT}
    found = {place: stream.read() for place, stream in _streams(image, wanted)}
    return {path: found[entry.place] for path, entry in entries.items() if entry.place in found}


def _streams(image: Image, wanted: Mapping[Place, str]) -> Iterable[tuple[Place, IO[bytes]]]:
    if not wanted:
        return ()
    descriptors = {str(descriptor.digest): descriptor for descriptor in image.descriptors}
    return contents(oci.open_artifact(image.path), descriptors, wanted)


def _timeless(kind: str, stream: IO[bytes]) -> str:
    try:
        if kind == "python":
            return f"{stream.read(4).hex()} {_digest(stream, skip=_PYTHON_HEADER - 4)}"
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
            while block := stream.read(_BLOCK):
                copy.write(block)
            copy.seek(0)
            if kind == "gzip":
                with gzip.GzipFile(fileobj=copy, mode="rb") as inner:
                    return _digest(cast(IO[bytes], inner))
            return _archive(copy, 0)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        return ""  # not what its name says: then its bytes count


def _digest(stream: IO[bytes], skip: int = 0) -> str:
    state = hashlib.sha256()
    stream.read(skip)
    while block := stream.read(_BLOCK):
        state.update(block)
    return state.hexdigest()


def _archive(stream: IO[bytes], depth: int) -> str:
    """Digest of names, modes and contents of an archive's entries, in their order."""
    state = hashlib.sha256()
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as content:
                if depth < _DEPTH and _ARCHIVE.fullmatch(entry.filename):
                    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
                        while block := content.read(_BLOCK):
                            copy.write(block)
                        copy.seek(0)
                        digest = _archive(copy, depth + 1)
                else:
                    digest = _digest(content)
            state.update(f"{entry.filename}\0{entry.external_attr}\0{digest}\0".encode("utf-8", "surrogateescape"))
    return state.hexdigest()
