"""The files of an image: its layers, one upon the other, as a container sees them.

Layers are read as streams, a block at a time; of a file only its digest is kept, of an ELF file also what it needs.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
import tempfile
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, cast

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import Descriptor
from buildopt.oci.layout import ArtifactSource
from buildopt.oci.unpacked import unpacked
from buildopt.prove.elf import Elf, read_elf

_BLOCK = 1 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_MOST_LINKS = 40  # as the kernel follows them
_IN_MEMORY = 4 << 20
_KINDS = {
    tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "pipe",
    tarfile.CHRTYPE: "character device", tarfile.BLKTYPE: "block device",
}  # fmt: skip
_ADVICE = "build the image again"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file's bytes are: the layer's digest and the member's number in its tar."""

    layer: str
    number: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or other thing. ``digest`` is the SHA-256 of a file's content, ``target`` where a link leads.

    ``modified`` is in seconds since 1970. ``elf`` is what an ELF file says of itself, ``script`` what a file's first
    line says that it is to be run with (``/usr/bin/env node``).
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    digest: str = ""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    modified: float = field(default=0.0, compare=False)
    place: Place = field(default=Place("", 0), compare=False)
    elf: Elf | None = field(default=None, compare=False)
    script: str = field(default="", compare=False)


_IMPLIED = Entry("folder", 0o755, 0, 0)
Tree = Mapping[str, Entry]
"""Entries by path, without a slash in front; the root itself is the empty path."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer adds and takes away. ``unpacked`` is the size in bytes of its tar.

    ``links`` are hard links to files that the layer does not hold itself: path and target.
    """

    digest: str
    unpacked: int
    added: Tree
    removed: frozenset[str]
    emptied: frozenset[str]
    links: tuple[tuple[str, str], ...] = ()


def read_layer(source: ArtifactSource, descriptor: Descriptor) -> Layer:
    """Read one layer. Raises ArtifactError where it is damaged or of a kind that cannot be read."""
    added: dict[str, Entry] = {}
    removed: set[str] = set()
    emptied: set[str] = set()
    links: list[tuple[str, str]] = []
    with _opened(source, descriptor) as (archive, count):
        for number, member in enumerate(members(archive)):
            path = normal(member.name, descriptor)
            folder, name = posixpath.split(path)
            if name == _OPAQUE:
                emptied.add(folder)
            elif name.startswith(_WHITEOUT):
                removed.add(posixpath.join(folder, name[len(_WHITEOUT) :]))
            elif member.islnk():
                target = normal(member.linkname, descriptor)
                found = added.get(target)
                if found is None:
                    links.append((path, target))
                else:
                    added[path] = found
            else:
                added[path] = _entry(archive, member, Place(str(descriptor.digest), number), descriptor)
        for _ in iter(lambda: count.read(_BLOCK), b""):
            pass  # what pads the tar belongs to its size, and to what its checksum is about
    return Layer(str(descriptor.digest), count.total, added, frozenset(removed), frozenset(emptied), tuple(links))


def stack(layers: Iterable[Layer]) -> dict[str, Entry]:
    """Put layers one upon the other; the first is the lowest."""
    tree: dict[str, Entry] = {}
    for layer in layers:
        _apply(tree, layer)
    return tree


def _apply(tree: dict[str, Entry], layer: Layer) -> None:
    paths = _Paths(tree, layer.added)
    added = {paths.real(path): entry for path, entry in layer.added.items()}
    removed = {paths.real(path) for path in layer.removed}
    emptied = {paths.real(f"{path}/x")[:-2] if path else "" for path in layer.emptied}
    # A file where a folder was takes all that was in it away.
    covered = {path for path, entry in added.items() if entry.kind != "folder" and _is_folder(tree, path)}
    for path, target in layer.links:
        found = added.get(paths.real(target)) or tree.get(paths.real(target))
        if found is None:
            raise ArtifactError(f"{path} in layer {layer.digest} is a hard link to nothing", hint=_ADVICE)
        added[paths.real(path)] = found
    if removed or emptied or covered:
        for path in [path for path in tree if path in removed or _below(path, removed | emptied | covered)]:
            del tree[path]
    tree.update(added)
    for path in added:
        # A tar need not name the folders that its files are in.
        while (path := posixpath.dirname(path)) and path not in tree:
            tree[path] = _IMPLIED


def _is_folder(tree: Tree, path: str) -> bool:
    entry = tree.get(path)
    return entry is not None and entry.kind == "folder"


def _below(path: str, folders: set[str]) -> bool:
    if not path:
        return False
    folder = posixpath.dirname(path)
    while folder:
        if folder in folders:
            return True
        folder = posixpath.dirname(folder)
    return "" in folders


class _Paths:
    """Where a layer's names lead, for a folder in them may be a symbolic link of a layer below."""

    def __init__(self, tree: Tree, added: Tree) -> None:
        # What the layer itself puts somewhere counts before what lies below.
        self.all: Tree = ChainMap(dict(added), dict(tree))
        self.known: dict[str, str] = {"": ""}

    def real(self, path: str) -> str:
        folder, name = posixpath.split(path)
        return posixpath.join(self._folder(folder), name)

    def _folder(self, folder: str) -> str:
        found = self.known.get(folder)
        if found is None:
            parent, name = posixpath.split(folder)
            own = posixpath.join(self._folder(parent), name)
            entry = self.all.get(own)
            found = (resolve(self.all, own) or own) if entry is not None and entry.kind == "link" else own
            self.known[folder] = found
        return found


def resolve(tree: Tree, path: str) -> str | None:
    """Where a path leads, symbolic links followed; None where there is nothing, or links go in circles."""
    todo = [part for part in reversed(path.split("/")) if part]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            done = done[:-1]
            continue
        if part == ".":
            continue
        entry = tree.get("/".join([*done, part]))
        if entry is None:
            return None
        if entry.kind == "link":
            links += 1
            if links > _MOST_LINKS:
                return None
            if entry.target.startswith("/"):
                done = []
            todo += [piece for piece in reversed(entry.target.split("/")) if piece]
            continue
        done.append(part)
    return "/".join(done)


def normal(name: str, descriptor: Descriptor) -> str:
    """A member's name as a path of the image. Raises ArtifactError for one that leads out of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ArtifactError(f"{name!r} in layer {descriptor.digest} leads out of the image", hint="do not trust it")
    return "/".join(parts)


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Place, descriptor: Descriptor) -> Entry:
    kind = _KINDS.get(member.type)
    if kind is None:
        raise ArtifactError(
            f"{member.name!r} in layer {descriptor.digest} is of an unknown kind: {member.type!r}", hint=_ADVICE
        )
    xattrs = sorted(
        (key[len(_XATTR) :], value.encode("utf-8", "surrogateescape"))
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    )
    entry = Entry(
        kind,
        # A link has no mode of its own.
        0o777 if kind == "link" else member.mode & 0o7777,
        member.uid,
        member.gid,
        target=member.linkname if kind == "link" else "",
        device=(member.devmajor, member.devminor) if kind.endswith("device") else (0, 0),
        xattrs=tuple(xattrs),
        modified=float(member.mtime),
        place=place,
    )
    if kind != "file":
        return entry
    stream = archive.extractfile(member)
    assert stream is not None
    return _with_content(entry, stream, member.size)


def _with_content(entry: Entry, stream: IO[bytes], size: int) -> Entry:
    state = hashlib.sha256()
    first = block = stream.read(_BLOCK)
    state.update(block)
    elf = None
    if first.startswith(b"\x7fELF"):
        # Its headers may be anywhere in it.
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
            while block:
                copy.write(block)
                block = stream.read(_BLOCK)
                state.update(block)
            copy.seek(0)
            elf = read_elf(cast(IO[bytes], copy))
    else:
        while block := stream.read(_BLOCK):
            state.update(block)
    return replace(entry, size=size, digest=state.hexdigest(), elf=elf, script=_interpreter(first))


def _interpreter(first: bytes) -> str:
    """What stands behind ``#!`` in a file's first line."""
    if not first.startswith(b"#!"):
        return ""
    return first[2:512].split(b"\n", 1)[0].strip().decode("utf-8", "surrogateescape")


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar that is read as a stream, none of them kept."""
    while (member := archive.next()) is not None:
        # tarfile would remember them all.
        archive.members = []  # type: ignore[attr-defined]
        yield member


class _Counting(io.RawIOBase):
    """A stream that counts what was read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.total = 0

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        data = self.stream.read(count)
        self.total += len(data)
        return data


@contextmanager
def _opened(source: ArtifactSource, descriptor: Descriptor) -> Iterator[tuple[tarfile.TarFile, _Counting]]:
    """A layer's tar, read as a stream, and the stream itself."""
    with unpacked(source, descriptor) as stream:
        count = _Counting(stream)
        with tarfile.open(fileobj=count, mode="r|", bufsize=_BLOCK) as archive:
            yield archive, count


def contents(
    source: ArtifactSource, descriptors: Mapping[str, Descriptor], wanted: Mapping[Place, object]
) -> Iterator[tuple[Place, IO[bytes]]]:
    """The bytes of wanted files, layer by layer, each to be read before the next is asked for."""
    for digest in dict.fromkeys(place.layer for place in wanted):
        with _opened(source, descriptors[digest]) as (archive, _):
            for number, member in enumerate(members(archive)):
                place = Place(digest, number)
                if place in wanted:
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield place, stream
