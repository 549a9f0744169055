"""Layers read as streams: what is in them, one file after the other, whatever their size."""

from __future__ import annotations

import gzip
import importlib
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import Descriptor
from buildopt.oci.layout import ArtifactSource, Blob

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Member:
    """One thing in a layer.

    ``kind`` is ``file``, ``link`` (also a hard one), ``whiteout`` (``path`` is removed), ``opaque`` (all below ``path``
    is removed) or ``other``; ``stream`` are a file's bytes, to be read before the next member.
    """

    path: str
    kind: str
    size: int = 0
    target: str = ""
    stream: IO[bytes] | None = None


def members(source: ArtifactSource, layer: Descriptor) -> Iterator[Member]:
    """What is in a layer, in its order. Raises ArtifactError where it cannot be read to its end."""
    with source.blob(layer.digest) as blob:
        try:
            with (
                _unpacked(blob, layer) as stream,
                tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, errorlevel=2) as archive,
            ):
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined] # tarfile would remember them all
                    yield _member(archive, member)
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError) as error:
            raise ArtifactError(
                f"layer {layer.digest} cannot be read: {error}", hint="build the image again"
            ) from error


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Member:
    path = posixpath.normpath("/" + member.name).lstrip("/")
    folder, name = posixpath.split(path)
    if name == OPAQUE:
        return Member(folder, "opaque")
    if name.startswith(_WHITEOUT):
        return Member(posixpath.join(folder, name[len(_WHITEOUT) :]), "whiteout")
    if member.issym():
        return Member(path, "link", target=member.linkname)
    if member.islnk():
        return Member(path, "link", target="/" + member.linkname)
    if member.isreg():
        return Member(path, "file", member.size, stream=archive.extractfile(member))
    return Member(path, "other")


@contextmanager
def _unpacked(blob: Blob, layer: Descriptor) -> Iterator[IO[bytes]]:
    """A layer's tar. What its first bytes say counts, as it does for engines."""
    start = blob.read(4)
    blob.seek(0)
    if start.startswith(_GZIP):
        with gzip.GzipFile(fileobj=cast(IO[bytes], blob), mode="rb") as stream:
            yield cast(IO[bytes], stream)
    elif start == _ZSTD:
        with _zstd(blob, layer) as stream:
            yield stream
    else:
        yield cast(IO[bytes], blob)


def _zstd(blob: Blob, layer: Descriptor) -> Any:
    """Python 3.14 reads zstd itself; before, a package does."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name).ZstdFile(blob, "rb")
        except ImportError:
            continue
    try:
        return importlib.import_module("zstandard").ZstdDecompressor().stream_reader(blob, read_across_frames=True)
    except ImportError as error:
        raise ArtifactError(
            f"layer {layer.digest} is compressed with zstd, which cannot be read here",
            hint="install the Python package zstandard, or build with --compression gzip",
        ) from error
