"""A blob as the body of a request."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import Descriptor, Digest
from buildopt.oci.layout import ArtifactSource, Blob, tampered, wrong_size
from buildopt.registry.lane import Lane
from buildopt.registry.retry import Stopped


class Sender(Protocol):
    """Who sends it."""

    def ended(self) -> bool:
        """Whether what is being sent is of no use any more."""

    def moved(self, blob: Descriptor, count: int) -> None:
        """Hear that bytes of a blob were read to be sent; less than zero: they will be again."""


class BlobBody:
    """A blob that tells what was read of it, and ends early when its sender does (Stopped). Use it in a ``with`` block.

    From ``enter`` until its last byte was read it has a place in ``lane``. It gives as many bytes as its descriptor
    says, whatever else the file holds by then: what follows them on the connection would be another request. It raises
    ArtifactError where the file of ``path`` is shorter, or cannot be read.
    """

    def __init__(self, opened: Blob, blob: Descriptor, path: Path, sender: Sender, lane: Lane | None) -> None:
        self._opened = opened
        self._blob = blob
        self._path = path
        self._sender = sender
        self._lane = lane
        self._entered = False
        self._count = 0

    def __enter__(self) -> BlobBody:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def enter(self) -> None:
        """Wait for a place. Raises Stopped where the sender ends before there is one."""
        if self._lane is not None:
            self._lane.enter(self._sender.ended)
            self._entered = True

    def read(self, count: int = -1, /) -> bytes:
        if self._sender.ended():
            raise Stopped
        left = self._blob.size - self._count
        try:
            data = self._opened.read(left if count < 0 else min(count, left))
        except OSError as error:  # not the connection's, which raises the same
            raise ArtifactError(
                f"{self._blob.digest} in {self._path} cannot be read: {error.strerror}", hint="check its disk"
            ) from error
        if not data:
            if self._count < self._blob.size:
                raise wrong_size(self._path, self._blob, self._count)
            self._leave()  # the next one may be sent while the registry stores this one
        self._count += len(data)
        self._sender.moved(self._blob, len(data))
        return data

    def seek(self, position: int, /) -> int:
        self._sender.moved(self._blob, -self._count)
        self._count = position
        return self._opened.seek(position)

    def _leave(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None and self._entered:
            lane.leave()


def verify(source: ArtifactSource, digest: Digest) -> None:
    """Hash a blob. Raises ArtifactError where its bytes are not what its digest says."""
    hasher = hashlib.new(digest.algorithm)
    with source.blob(digest) as blob:
        for block in blob.blocks():
            hasher.update(block)
    if hasher.hexdigest() != digest.hex:
        raise tampered(source.path, digest, Digest(digest.algorithm, hasher.hexdigest()))
