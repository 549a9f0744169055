"""Layers read as streams: what is in them, one file after the other, whatever their size."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from buildopt.oci.descriptor import Descriptor
from buildopt.oci.layout import ArtifactSource
from buildopt.oci.unpacked import unpacked

_BLOCK = 1 << 20
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
    target: str = ""
    stream: IO[bytes] | None = None


def members(source: ArtifactSource, layer: Descriptor) -> Iterator[Member]:
    """What is in a layer, in its order. Raises ArtifactError where it cannot be read to its end."""
    with (
        unpacked(source, layer) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, errorlevel=2) as archive,
    ):
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] # tarfile would remember them all
            yield _member(archive, member)


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
        return Member(path, "file", stream=archive.extractfile(member))
    return Member(path, "other")
