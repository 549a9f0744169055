"""Layers as the tars that they are, whatever they are compressed with."""

from __future__ import annotations

import gzip
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import Descriptor
from buildopt.oci.layout import ArtifactSource

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# What reading a damaged tar raises, beside the errors of decompression.
_BROKEN = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError)


@contextmanager
def unpacked(source: ArtifactSource, layer: Descriptor) -> Iterator[IO[bytes]]:
    """A layer's tar as a stream. What its first bytes say counts, as it does for engines.

    Raises ArtifactError where the block that reads it meets something damaged.
    """
    broken: tuple[type[Exception], ...] = _BROKEN
    with source.blob(layer.digest) as blob:
        start = blob.read(4)
        blob.seek(0)
        stream = cast(IO[bytes], blob)
        if start.startswith(_GZIP):
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=stream, mode="rb"))
        elif start == _ZSTD:
            stream, error = _zstd(stream)
            broken = (*_BROKEN, error)
        try:
            with stream:
                yield stream
        except broken as problem:
            raise ArtifactError(
                f"layer {layer.digest} cannot be read: {problem}", hint="build the image again"
            ) from problem


def _zstd(stream: IO[bytes]) -> tuple[IO[bytes], type[Exception]]:
    """The stream decompressed, and what it raises; Python reads zstd itself from 3.14 on."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return cast(IO[bytes], zstd.ZstdFile(stream)), zstd.ZstdError
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False)
    return cast(IO[bytes], reader), zstandard.ZstdError
