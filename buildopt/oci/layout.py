"""An OCI image layout, be it a folder or a tar, behind one read interface.

A tar is read where it lies: one pass over its headers notes where each blob's bytes are, nothing is unpacked and
nothing is copied. Whatever could lead a reader elsewhere (links, ``..``, absolute names, devices, a name that stands
twice) is refused by name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from buildopt.errors import ArtifactError
from buildopt.oci import tarfile_index
from buildopt.oci.descriptor import (
    DOCUMENT_TYPES,
    HEX_DIGITS,
    IMAGE_NAME,
    MAX_DEPTH,
    MAX_DOCUMENT,
    MAX_ENTRIES,
    MAX_TOTAL,
    REFERENCE_DIGEST,
    REFERENCE_NAME,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
    load_json,
    parse_document,
    shown,
)

BLOCK = 1 << 20
GATES = "gates.json"
"""Name of the record of the gates, in a folder and in a tar."""
_BUILD = "make one with: buildopt build-once"
_PIPE = "save it to a file first: an artifact is read in place, not from its start to its end"


class Blob:
    """A blob's bytes: ``size`` bytes from ``offset`` of the open file ``fd``. Reads never move a shared position.

    It can be the body of an HTTP request (``read``), or be sent with ``os.sendfile``. Use it in a ``with`` block.
    """

    __slots__ = ("_stream", "fd", "offset", "position", "size")

    def __init__(self, stream: IO[bytes], offset: int, size: int) -> None:
        self._stream = stream
        self.fd = stream.fileno()
        self.offset = offset
        self.size = size
        self.position = 0

    def read(self, count: int = -1) -> bytes:
        """The next bytes, at most ``count``; empty at the end. Fewer than ``size`` in all where the file is cut off."""
        left = self.size - self.position
        wanted = left if count < 0 else min(count, left)
        data = os.pread(self.fd, wanted, self.offset + self.position) if wanted > 0 else b""
        self.position += len(data)
        return data

    def blocks(self) -> Iterator[bytes]:
        """The bytes in blocks of 1 MiB."""
        while block := self.read(BLOCK):
            yield block

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position counted from the blob's own start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, min(self.size, base + position))
        return self.position

    def tell(self) -> int:
        """How many bytes of the blob were read."""
        return self.position

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Blob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ArtifactSource(Protocol):
    """Blobs by digest, and the index.json that names them. Methods raise ArtifactError, also for a missing blob."""

    @property
    def path(self) -> Path:
        """The folder or the tar."""

    @property
    def index_bytes(self) -> bytes:
        """index.json as it is."""

    def blob(self, digest: Digest) -> Blob:
        """A blob opened for reading; the caller closes it."""

    def size(self, digest: Digest) -> int:
        """A blob's size in bytes."""

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""

    def read(self, digest: Digest, cap: int = MAX_DOCUMENT) -> bytes:
        """A small blob's bytes, checked against its digest; at most ``cap`` of them."""

    def digests(self) -> frozenset[Digest]:
        """Every blob that is there, referenced or not."""

    def gates(self) -> bytes | None:
        """What the gates said of it (``gates.json``), as it is; None where there is no such record."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What folder and tar share."""

    path: Path
    index_bytes: bytes

    def blob(self, digest: Digest) -> Blob:
        raise NotImplementedError

    def read(self, digest: Digest, cap: int = MAX_DOCUMENT) -> bytes:
        with self.blob(digest) as blob:
            if blob.size > cap:
                raise ArtifactError(f"{digest} in {self.path} is larger than {cap} bytes", hint=_BUILD)
            data = b"".join(blob.blocks())
        actual = Digest.of(data, digest.algorithm)
        if actual != digest:
            raise tampered(self.path, digest, actual)
        return data

    def size(self, digest: Digest) -> int:
        with self.blob(digest) as blob:
            return blob.size

    def gates(self) -> bytes | None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FolderSource(_Source):
    """A layout folder. No symbolic link in it is followed."""

    def _file(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.hex

    def blob(self, digest: Digest) -> Blob:
        try:
            stream = _open_plain(self._file(digest))
        except FileNotFoundError as error:
            raise missing(self.path, digest) from error
        return Blob(stream, 0, os.fstat(stream.fileno()).st_size)

    def size(self, digest: Digest) -> int:
        try:
            status = os.lstat(self._file(digest))
        except OSError as error:
            raise missing(self.path, digest) from error
        if not stat.S_ISREG(status.st_mode):
            raise _not_plain(self._file(digest))
        return status.st_size

    def has(self, digest: Digest) -> bool:
        return os.path.lexists(self._file(digest))

    def digests(self) -> frozenset[Digest]:
        found = set()
        for algorithm in ("sha256", "sha512"):
            folder = self.path / "blobs" / algorithm
            try:
                names = sorted(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(folder, error) from error
            for name in names:
                try:
                    found.add(Digest.parse(f"{algorithm}:{name}"))
                except ArtifactError:
                    continue  # BuildKit's own temporary files, or a stranger's: nothing refers to them
        return frozenset(found)

    def gates(self) -> bytes | None:
        try:
            with _open_plain(self.path / GATES) as stream:
                return stream.read(MAX_DOCUMENT + 1)
        except FileNotFoundError:
            return None


class _Held:
    """A file that stays open until nobody needs it any more."""

    __slots__ = ("_path", "_stream")

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = stream

    def __del__(self) -> None:
        self._stream.close()

    def opened(self) -> IO[bytes]:
        """It once more. Its position is that of the others. Raises ArtifactError, such as for too many open files."""
        try:
            return os.fdopen(os.dup(self._stream.fileno()), "rb", buffering=0)
        except OSError as error:
            raise _unreadable(self._path, error) from error


@dataclass(frozen=True, slots=True)
class TarSource(_Source):
    """An OCI tar, read in place; ``places`` are offset and size of each blob, ``record`` those of gates.json.

    It stays what it was when it was opened: another file that takes its name later is another artifact.
    """

    file: _Held
    places: Mapping[Digest, tuple[int, int]]
    record: tuple[int, int] | None = None

    def blob(self, digest: Digest) -> Blob:
        if digest not in self.places:
            raise missing(self.path, digest)
        return Blob(self.file.opened(), *self.places[digest])

    def size(self, digest: Digest) -> int:
        if digest not in self.places:
            raise missing(self.path, digest)
        return self.places[digest][1]

    def has(self, digest: Digest) -> bool:
        return digest in self.places

    def digests(self) -> frozenset[Digest]:
        return frozenset(self.places)

    def gates(self) -> bytes | None:
        if self.record is None:
            return None
        offset, size = self.record
        with self.file.opened() as stream:
            return os.pread(stream.fileno(), min(size, MAX_DOCUMENT + 1), offset)


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One manifest of an image: what its descriptor says, and what it holds."""

    descriptor: Descriptor
    manifest: Manifest

    @property
    def platform(self) -> Platform | None:
        """The platform that its descriptor names."""
        return self.descriptor.platform

    @property
    def size(self) -> int:
        """Bytes of manifest, config and layers, each blob counted once."""
        return self.descriptor.size + sum({blob.digest: blob.size for blob in self.manifest.blobs}.values())

    @property
    def attests(self) -> str:
        """Digest of the manifest that this attestation speaks about, else empty."""
        return self.descriptor.annotations.get(REFERENCE_DIGEST, "")


@dataclass(frozen=True, slots=True)
class Image:
    """The one image of an artifact: ``descriptor`` is its index or manifest, ``names`` what index.json calls it.

    ``indexes`` and ``manifests`` are in the order in which they must be pushed: children before parents.
    """

    descriptor: Descriptor
    document: Manifest | Index
    names: tuple[str, ...]
    manifests: tuple[ImageManifest, ...]
    indexes: tuple[tuple[Descriptor, Index], ...]

    @property
    def digest(self) -> Digest:
        """The image's digest, the one that BuildKit reports."""
        return self.descriptor.digest

    @property
    def platforms(self) -> tuple[ImageManifest, ...]:
        """The manifests that can be run."""
        return tuple(entry for entry in self.manifests if not entry.descriptor.attestation)

    @property
    def attestations(self) -> tuple[ImageManifest, ...]:
        """The manifests that speak about others: provenance and bills of materials."""
        return tuple(entry for entry in self.manifests if entry.descriptor.attestation)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Configs and layers, each once: what is said of it elsewhere is compared before it is sent."""
        found: dict[Digest, Descriptor] = {}
        for entry in self.manifests:
            for blob in entry.manifest.blobs:
                if blob.digest not in found or found[blob.digest].data is None:
                    found[blob.digest] = blob
        return tuple(found.values())

    @property
    def size(self) -> int:
        """Bytes of all blobs, manifests and indexes, each counted once."""
        sizes = {blob.digest: blob.size for blob in self.blobs}
        sizes |= {entry.descriptor.digest: entry.descriptor.size for entry in self.manifests}
        sizes |= {descriptor.digest: descriptor.size for descriptor, _ in self.indexes}
        return sum(sizes.values())


def open_artifact(path: Path, tell: Callable[[ArtifactError], None] | None = None) -> ArtifactSource:
    """Open a layout folder or an OCI tar. Raises ArtifactError where there is none, or it is damaged or unsafe.

    With ``tell`` unsafe entries of a tar are told to it, one by one, and left out.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ArtifactError(f"no artifact at {path}", hint=_PIPE if str(path) == "-" else _BUILD) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        return _open_folder(path)
    if stat.S_ISREG(status.st_mode):
        return _open_tar(path, tell)
    hint = _PIPE if stat.S_ISFIFO(status.st_mode) else _BUILD
    raise ArtifactError(f"{path} is neither a folder nor a file", hint=hint)


def resolve(source: ArtifactSource, wanted: str = "", *, partial: bool = False) -> Image:
    """The image inside an artifact; of several the one whose name or digest is ``wanted``.

    index.json may name it several times, and list what it is made of beside it (as oras does); several images are an
    ArtifactError that names them, as is any document that is missing, tampered with or not what its descriptor says.
    With ``partial`` an index may name manifests that are not there: they are left out of ``manifests``, as where an
    engine saved the platforms that it holds. Layers are not looked at.
    """
    outer = parse_document(source.index_bytes, what="index.json")
    if not isinstance(outer, Index):
        raise ArtifactError(f"index.json in {source.path} is not an index", hint=_BUILD)
    if not outer.manifests:
        raise ArtifactError(f"the artifact at {source.path} holds no image", hint=_BUILD)
    found = _by_digest(outer.manifests)
    if wanted:
        exact = [entry for entry in outer.manifests if wanted in _names_of(entry)]
        found = _by_digest(exact or [entry for entry in outer.manifests if _called(entry, wanted)])
        if not found:
            raise ArtifactError(
                f"no image in {source.path} is called {shown(wanted)}",
                hint="these are its images: take one of their names or digests",
                detail=_listed(outer.manifests),
            )
    elif len(found) > 1:
        whole = _Walk(source, partial)
        for entry in found.values():
            whole.visit(entry, 0)
        inner = {child.digest for _, index in whole.indexes for child in index.manifests}
        found = {digest: entry for digest, entry in found.items() if digest not in inner}
    if len(found) > 1:
        images = [entry for entry in outer.manifests if entry.digest in found]
        raise ArtifactError(
            f"the artifact at {source.path} holds {len(found)} different images",
            hint="push and inspect choose one with --image NAME (or its digest); or build into an empty folder",
            detail=_listed(images),
        )
    (descriptor,) = found.values()
    walk = _Walk(source, partial)
    document = walk.visit(descriptor, 0)
    same = tuple(entry for entry in outer.manifests if entry.digest == descriptor.digest)
    for entry in same:
        walk.again(entry)
    names = _names(same)
    return Image(descriptor, document, names, tuple(walk.manifests), tuple(walk.indexes))


def absent_layers(source: ArtifactSource, image: Image) -> tuple[Descriptor, ...]:
    """The foreign layers whose bytes are not in the artifact. Nobody fetches them from where they are said to be."""
    return tuple(blob for blob in image.blobs if blob.foreign and blob.data is None and not source.has(blob.digest))


def _by_digest(entries: Sequence[Descriptor]) -> dict[Digest, Descriptor]:
    """The first descriptor of each digest."""
    found: dict[Digest, Descriptor] = {}
    for entry in entries:
        found.setdefault(entry.digest, entry)
    return found


def _called(entry: Descriptor, wanted: str) -> bool:
    return any(name.endswith(f"/{wanted}") for name in _names_of(entry))


def _names_of(entry: Descriptor) -> list[str]:
    names = [entry.annotations[key] for key in (IMAGE_NAME, REFERENCE_NAME) if entry.annotations.get(key)]
    return [str(entry.digest), *names]


def _listed(entries: Sequence[Descriptor]) -> list[str]:
    """A line a descriptor, for people; names are a stranger's words."""
    lines = []
    for entry in entries:
        names = _names((entry,))
        lines.append(f"{entry.digest} {shown(names[0])}" if names else str(entry.digest))
    return list(dict.fromkeys(lines))


class _Walk:
    """Walks an image's documents, children first, each once."""

    def __init__(self, source: ArtifactSource, partial: bool = False) -> None:
        self.source = source
        self.partial = partial
        self.bytes = 0
        self.seen: dict[Digest, Descriptor] = {}
        self.manifests: list[ImageManifest] = []
        self.indexes: list[tuple[Descriptor, Index]] = []

    def again(self, descriptor: Descriptor) -> None:
        """Compare a further descriptor of a document that was visited: other readers may go by this one."""
        known = self.seen.get(descriptor.digest, descriptor)
        if descriptor.size != known.size:
            raise wrong_size(self.source.path, descriptor, known.size)
        if descriptor.media_type != known.media_type:
            raise ArtifactError(
                two_types(descriptor.digest, known.media_type, descriptor.media_type), hint="do not trust this artifact"
            )

    def visit(self, descriptor: Descriptor, depth: int) -> Manifest | Index:
        if depth > MAX_DEPTH:
            raise ArtifactError(f"indexes lie more than {MAX_DEPTH} deep in {self.source.path}", hint=_BUILD)
        if len(self.seen) > MAX_ENTRIES:
            raise ArtifactError(f"{self.source.path} holds more than {MAX_ENTRIES} manifests", hint=_BUILD)
        if descriptor.media_type not in DOCUMENT_TYPES:
            raise ArtifactError(
                f"{descriptor.digest} is called {shown(descriptor.media_type)}, which is no image", hint=_BUILD
            )
        self.again(descriptor)
        self.seen[descriptor.digest] = descriptor
        data = document_bytes(self.source, descriptor)
        if len(data) != descriptor.size:
            raise wrong_size(self.source.path, descriptor, len(data))
        self.bytes += len(data)
        if self.bytes > MAX_TOTAL:
            raise ArtifactError(
                f"the manifests in {self.source.path} are larger than {MAX_TOTAL >> 20} MiB", hint=_BUILD
            )
        document = parse_document(data, descriptor.media_type, what=str(descriptor.digest))
        if isinstance(document, Index):
            self._children(document, depth)
            self.indexes.append((descriptor, document))
        else:
            self.manifests.append(ImageManifest(descriptor, document))
        return document

    def _children(self, index: Index, depth: int) -> None:
        there = [child for child in index.manifests if child.data is not None or self.source.has(child.digest)]
        if len(there) < len(index.manifests) and there and not self.partial:
            gone = next(child for child in index.manifests if child not in there)
            names = [str(child.platform) for child in there if child.platform and not child.attestation]
            raise ArtifactError(
                f"{gone.digest} is missing from {self.source.path}" + (f": {gone.platform}" if gone.platform else ""),
                hint=f"push a platform that is there: --platform {names[0]}" if names else _BUILD,
            )
        for child in there if self.partial else index.manifests:
            if child.digest in self.seen:
                self.again(child)
            else:
                self.visit(child, depth + 1)


def document_bytes(source: ArtifactSource, descriptor: Descriptor) -> bytes:
    """A manifest's or index's bytes, from its blob or else from the descriptor that carries them."""
    if descriptor.data is not None and not source.has(descriptor.digest):
        return descriptor.data
    return source.read(descriptor.digest)


def missing(path: Path, digest: Digest) -> ArtifactError:
    """The error for a blob that is not there."""
    return ArtifactError(f"{digest} is missing from {path}", hint=_BUILD)


def tampered(path: Path, digest: Digest, actual: Digest) -> ArtifactError:
    """The error for a blob whose bytes are not what its name says."""
    return ArtifactError(
        f"{digest} in {path} is not what it says: its bytes are {actual}",
        hint="the artifact was damaged or changed; build it again: buildopt build-once",
    )


def two_types(digest: Digest, one: str, other: str) -> str:
    """What is wrong with a manifest that two descriptors call different things."""
    return f"{digest} is called {shown(one)} and {shown(other)}"


def wrong_size(path: Path, descriptor: Descriptor, actual: int) -> ArtifactError:
    """The error for a blob that has another size than its descriptor says."""
    return ArtifactError(
        f"{descriptor.digest} in {path} has {actual} bytes, its descriptor says {descriptor.size}",
        hint="the artifact was cut off or changed; build it again: buildopt build-once",
    )


def _names(entries: tuple[Descriptor, ...]) -> tuple[str, ...]:
    keys = (IMAGE_NAME, REFERENCE_NAME)
    found = (next((entry.annotations[key] for key in keys if entry.annotations.get(key)), "") for entry in entries)
    return tuple(dict.fromkeys(name for name in found if name))


def _not_plain(path: Path) -> ArtifactError:
    return ArtifactError(f"{path} is a link or not a plain file", hint="an artifact holds plain files only")


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions")


def _open_plain(path: Path, *, follow: bool = False) -> IO[bytes]:
    """Open a plain file. Raises FileNotFoundError, or ArtifactError for links, other kinds and unreadable files."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except FileNotFoundError:
        raise
    except OSError as error:
        if not follow and os.path.islink(path):
            raise _not_plain(path) from error
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_plain(path)
    return os.fdopen(fd, "rb", buffering=0)


def _open_folder(path: Path) -> FolderSource:
    for name in ("blobs", "blobs/sha256", "blobs/sha512"):
        folder = path / name
        try:
            linked = stat.S_ISLNK(os.lstat(folder).st_mode)
            if not linked:
                os.stat(f"{folder}/.")  # where that may not be asked, each of its blobs would seem to be missing
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _unreadable(folder, error) from error
        if linked:
            raise _not_plain(folder)
    try:
        with _open_plain(path / "index.json") as stream:
            data = stream.read(MAX_DOCUMENT + 1)
    except FileNotFoundError as error:
        raise ArtifactError(f"no artifact at {path}: it has no index.json", hint=_BUILD) from error
    try:
        with _open_plain(path / "oci-layout") as stream:
            _check_layout(stream.read(MAX_DOCUMENT + 1), path)
    except FileNotFoundError as error:
        raise ArtifactError(f"no artifact at {path}: it has no oci-layout file", hint=_BUILD) from error
    return FolderSource(path, data)


_BLOB_NAME = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")


def _open_tar(path: Path, tell: Callable[[ArtifactError], None] | None = None) -> TarSource:
    stream = _open_plain(path, follow=True)
    held = _Held(path, stream)
    entries = tarfile_index.entries(stream, path, tell)
    for name in ("index.json", "oci-layout"):
        if name not in entries:
            if "manifest.json" in entries:  # docker before 25
                raise ArtifactError(
                    f"no artifact at {path}: it was made by docker save, without an OCI layout",
                    hint="docker 25 and later save one; or build it with: buildopt build-once -o image.tar",
                )
            raise ArtifactError(f"no artifact at {path}: the tar has no {name}", hint=_BUILD)
    documents = {}
    for name in ("index.json", "oci-layout"):
        offset, size = entries[name]
        documents[name] = os.pread(stream.fileno(), min(size, MAX_DOCUMENT + 1), offset)
    _check_layout(documents["oci-layout"], path)
    places = {}
    for name, place in entries.items():
        match = _BLOB_NAME.fullmatch(name)
        if match and len(match[2]) == HEX_DIGITS[match[1]]:  # nothing refers to other names
            places[Digest.parse(f"{match[1]}:{match[2]}")] = place
    return TarSource(path, documents["index.json"], held, places, entries.get(GATES))


def _check_layout(data: bytes, path: Path) -> None:
    version = load_json(data, f"oci-layout in {path}").get("imageLayoutVersion")
    if version != "1.0.0":
        raise ArtifactError(f"{path} has layout version {shown(version)}; 1.0.0 is known", hint=_BUILD)
