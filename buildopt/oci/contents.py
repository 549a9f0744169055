"""A blob read once: its digest, and for layers the digest of what they unpack to. Nothing is written or kept."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol, cast

from buildopt.oci.descriptor import Digest
from buildopt.oci.layout import BLOCK, ArtifactSource, Blob

MAX_UNPACKED = 100 << 30
"""Bytes after which a layer is no longer unpacked: no image has such layers, and a bomb has no end."""
_MAX_WINDOW = 1 << 27
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read: ``digest`` of the bytes, ``packing`` by their start (gzip, zstd or empty).

    ``unpacked`` is the digest of what they unpack to, None where that was not asked for or there is a ``problem``.
    """

    digest: Digest
    packing: str = ""
    unpacked: Digest | None = None
    problem: str = ""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Reader:
    """Reads a blob and hashes what passes."""

    def __init__(self, blob: Blob, hasher: _Hash) -> None:
        self._blob = blob
        self._hasher = hasher

    def read(self, count: int = -1) -> bytes:
        data = self._blob.read(BLOCK if count < 0 else count)
        self._hasher.update(data)
        return data


def read_contents(source: ArtifactSource, digest: Digest, *, unpack: bool = False) -> Contents:
    """Read a blob to its end. Raises ArtifactError where it cannot be opened; damage is told in the answer."""
    hasher: _Hash = hashlib.new(digest.algorithm)
    inner: _Hash = hashlib.sha256()
    packing, problem = "", ""
    with source.blob(digest) as blob:
        if unpack:
            start = blob.read(4)
            blob.seek(0)
            packing = "gzip" if start.startswith(_GZIP) else "zstd" if start == _ZSTD else ""
        reader = _Reader(blob, hasher)
        if packing:
            problem = _unpack(reader, packing, inner)
        while reader.read(BLOCK):
            continue
    actual = Digest(digest.algorithm, hasher.hexdigest())
    if not unpack or problem:
        return Contents(actual, packing, None, problem)
    if packing:
        return Contents(actual, packing, Digest("sha256", inner.hexdigest()))
    return Contents(actual, packing, actual if actual.algorithm == "sha256" else None)


def _unpack(reader: _Reader, packing: str, inner: _Hash) -> str:
    """Hash what a stream unpacks to; what is wrong with it, in words."""
    total = 0
    blocks = _gunzipped(reader) if packing == "gzip" else _unzstd(reader)
    try:
        for block in blocks:
            inner.update(block)
            total += len(block)
            if total > MAX_UNPACKED:
                return f"it unpacks to more than {MAX_UNPACKED >> 30} GiB"
    except (zlib.error, EOFError, OSError, ValueError, MemoryError) as error:
        return f"it cannot be unpacked: {error}"
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # of one of two modules, by the version of Python
            raise
        return f"it cannot be unpacked: {error}"
    return ""


def _gunzipped(reader: _Reader) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(31)
    data = reader.read(BLOCK)
    while data:
        yield unpacker.decompress(data, BLOCK)
        data = unpacker.unconsumed_tail
        if unpacker.eof:
            data = unpacker.unused_data.lstrip(b"\0") or reader.read(BLOCK).lstrip(b"\0")
            if not data:
                return
            unpacker = zlib.decompressobj(31)
        elif not data:
            data = reader.read(BLOCK)
    raise EOFError("it ends in the middle")


def _unzstd(reader: _Reader) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        stream = zstd.ZstdFile(cast(IO[bytes], reader), options={zstd.DecompressionParameter.window_log_max: 27})
        while block := stream.read(BLOCK):
            yield block
        return
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
        cast(IO[bytes], reader), read_size=BLOCK, read_across_frames=True, closefd=False
    )
    while block := unpacker.read(BLOCK):
        yield block
