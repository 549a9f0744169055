"""Everything that is wrong with an artifact, not only the first thing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from buildopt.errors import ArtifactError
from buildopt.oci.contents import Contents, read_contents
from buildopt.oci.descriptor import (
    DOCKER_CONFIG,
    DOCUMENT_TYPES,
    MAX_DEPTH,
    MAX_DOCUMENT,
    MAX_ENTRIES,
    MAX_TOTAL,
    OCI_CONFIG,
    REFERENCE_DIGEST,
    Descriptor,
    Digest,
    Index,
    Manifest,
    load_json,
    parse_descriptor,
    parse_document,
    shown,
)
from buildopt.oci.layout import ArtifactSource, two_types

_CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_LAYERS = (".image.layer.", ".image.rootfs.")
_PACKINGS = ((("+gzip", ".tar.gzip"), "gzip"), (("+zstd", ".tar.zstd"), "zstd"), ((".tar",), ""))


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to know about an artifact. ``fatal``: it cannot be trusted or pushed; else only worth knowing."""

    kind: str
    message: str
    fatal: bool = True


def check(source: ArtifactSource, *, deep: bool = True, contents: bool = False) -> tuple[Problem, ...]:
    """Find all problems. ``deep`` reads every blob and compares its digest; ``contents`` also unpacks layers, nowhere
    to, and compares what parts of the image say of each other. Raises nothing but what opening raises, and for folders
    that cannot be listed.
    """
    walk = _Walk(source, contents)
    walk.outer()
    problems = walk.problems
    layers = _Layers(source)
    if contents:
        for descriptor, manifest in walk.manifests:
            layers.note(descriptor, manifest)
        problems += layers.problems
    if deep:
        present = [digest for digest in walk.expected if source.has(digest) and digest not in walk.read]
        problems += _read(source, present, layers)
    problems += _stale(source, walk.expected)
    return tuple(dict.fromkeys(problems))


def _stale(source: ArtifactSource, expected: Mapping[Digest, int]) -> Iterator[Problem]:
    stale = sorted(source.digests() - expected.keys())
    size = 0
    for digest in stale:
        try:
            size += source.size(digest)
        except ArtifactError as error:
            yield Problem("unsafe", error.message)
    if stale:
        names = ", ".join(str(digest) for digest in stale[:3]) + (", …" if len(stale) > 3 else "")
        yield Problem("unreferenced", f"{len(stale)} blobs ({size} bytes) belong to no image: {names}", False)


class _Walk:
    """Goes through index.json and all that it leads to, and on past what is wrong."""

    def __init__(self, source: ArtifactSource, contents: bool) -> None:
        self.source = source
        self.contents = contents
        self.problems: list[Problem] = []
        self.expected: dict[Digest, int] = {}
        self.types: dict[Digest, str] = {}
        self.read: set[Digest] = set()
        self.inner: set[Digest] = set()
        self.manifests: list[tuple[Descriptor, Manifest]] = []
        self.subjects: dict[Digest, Digest] = {}
        self.bytes = 0

    def outer(self) -> None:
        before = len(self.problems)
        index = self.parsed(self.source.index_bytes, "", "index.json")
        if not isinstance(index, Index):
            if len(self.problems) == before:
                self.problems.append(Problem("invalid", "index.json is not an index"))
            return
        self.children(index, 0)
        digests = {entry.digest for entry in index.manifests} - self.inner
        if len(digests) != 1 and len(self.problems) == before:
            names = ", ".join(str(digest) for digest in sorted(digests)[:5])
            self.problems.append(Problem("ambiguous", f"it holds {len(digests)} images, not one: {names}".rstrip(": ")))

    def children(self, index: Index, depth: int) -> None:
        for child in index.manifests:
            self.document(child, depth)
        if self.contents:
            self.attestations(index)

    def attestations(self, index: Index) -> None:
        """What speaks of something that is not there, or of two things at once."""
        images = {str(child.digest) for child in index.manifests if not child.attestation}
        for child in index.manifests:
            of = child.annotations.get(REFERENCE_DIGEST, "") if child.attestation else ""
            if of and of not in images:
                words = f"the attestation {child.digest} speaks of {shown(of)}, which is not beside it"
                self.problems.append(Problem("attestation", words))
            subject = self.subjects.get(child.digest)
            if of and subject is not None and str(subject) != of and of in images:
                words = f"the attestation {child.digest} speaks of {of}, its subject is {subject}"
                self.problems.append(Problem("attestation", words))

    def document(self, descriptor: Descriptor, depth: int) -> None:
        digest = descriptor.digest
        known = self.types.setdefault(digest, descriptor.media_type)
        if known != descriptor.media_type:
            self.problems.append(Problem("media-type", two_types(digest, known, descriptor.media_type)))
        if digest in self.read:
            self.blob(descriptor)
            return
        there = self.blob(descriptor)
        if not there and descriptor.data is None:
            return
        self.read.add(digest)
        if descriptor.media_type not in DOCUMENT_TYPES:
            self.problems.append(Problem("media-type", f"{digest} is called {shown(descriptor.media_type)}: no image"))
            self.read.discard(digest)  # its digest is compared like that of any blob
            return
        if depth > MAX_DEPTH or len(self.read) > MAX_ENTRIES or self.bytes > MAX_TOTAL:
            self.problems.append(Problem("invalid", f"{digest} lies too deep, or there are too many manifests"))
            return
        data = self.data(descriptor) if there else descriptor.data
        if data is None:
            return
        self.bytes += len(data)
        document = self.parsed(
            data, descriptor.media_type, str(digest), trusted=Digest.of(data, digest.algorithm) == digest
        )
        if isinstance(document, Index):
            self.inner.update(child.digest for child in document.manifests)
            self.children(document, depth + 1)
        elif document is not None:
            self.manifests.append((descriptor, document))
            if document.subject is not None:
                self.subjects[digest] = document.subject.digest
            for blob in document.blobs:
                self.blob(blob)

    def data(self, descriptor: Descriptor) -> bytes | None:
        """A document's bytes, those of another digest too: what it says is looked at all the same."""
        digest = descriptor.digest
        try:
            with self.source.blob(digest) as blob:
                data = blob.read(MAX_DOCUMENT + 1)
        except ArtifactError as error:
            self.problems.append(Problem("invalid", error.message))
            return None
        if len(data) > MAX_DOCUMENT:
            self.problems.append(Problem("invalid", f"{digest} is larger than {MAX_DOCUMENT >> 20} MiB"))
            return None
        actual = Digest.of(data, digest.algorithm)
        if actual != digest:
            self.problems.append(_tampered(digest, actual))
        return data

    def parsed(self, data: bytes, media_type: str, what: str, *, trusted: bool = True) -> Manifest | Index | None:
        """A document; where it is wrong all that is wrong with it is noted, and what it leads to is looked at."""
        try:
            return parse_document(data, media_type, what=what)
        except ArtifactError as error:
            first = error.message
        try:
            document = load_json(data, what)
        except ArtifactError:
            if trusted:  # else it is damaged, and that was said
                self.problems.append(Problem("invalid", first))
            return None
        entries, wrong = _entries(document, what)
        for message in dict.fromkeys((first, *wrong)):
            named = " says it is " in message or " called " in message or "media type" in message
            self.problems.append(Problem("media-type" if named else "invalid", message))
        for key, entry in entries:
            if key == "manifests":
                self.inner.add(entry.digest)
                self.document(entry, MAX_DEPTH)
            else:
                self.blob(entry)
        return None

    def blob(self, descriptor: Descriptor) -> bool:
        """Note a blob and compare its size; whether it is there."""
        digest = descriptor.digest
        known = self.expected.setdefault(digest, descriptor.size)
        if known != descriptor.size:
            self.problems.append(Problem("size", f"{digest} is said to have {known} and {descriptor.size} bytes"))
        if not self.source.has(digest):
            if descriptor.foreign and descriptor.data is None:
                where = ", ".join(shown(url) for url in descriptor.urls[:3]) or "nowhere"
                words = f"the foreign layer {digest} is not in the artifact; it is said to be at {where}"
                self.problems.append(Problem("foreign", words, False))
            elif descriptor.data is None:
                self.problems.append(Problem("missing", f"{digest} is missing"))
            return False
        try:
            size = self.source.size(digest)
        except ArtifactError as error:
            self.problems.append(Problem("unsafe", error.message))
            self.read.add(digest)  # it is not opened
            return False
        if size != descriptor.size and known == descriptor.size:
            self.problems.append(Problem("size", f"{digest} has {size} bytes, its descriptor says {descriptor.size}"))
        return True


def _entries(document: Mapping[str, object], what: str) -> tuple[list[tuple[str, Descriptor]], list[str]]:
    """The descriptors of a document that can be read, and what is wrong with the others."""
    found: list[tuple[str, Descriptor]] = []
    wrong: list[str] = []
    single = [(key, f"{what}: {key}", document[key]) for key in ("config", "subject") if document.get(key) is not None]
    for key in ("layers", "manifests"):
        values = document.get(key)
        for number, value in enumerate(values[:MAX_ENTRIES] if isinstance(values, list) else ()):
            single.append((key, f"{what}: {key}[{number}]", value))
    for key, name, value in single:
        try:
            descriptor = parse_descriptor(value, name)
        except ArtifactError as error:
            wrong.append(error.message)
            continue
        if key != "subject":  # it need not be in the artifact
            found.append((key, descriptor))
    return found, wrong


class _Layers:
    """Which layers are to unpack to what, as the configs say."""

    def __init__(self, source: ArtifactSource) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.wanted: dict[Digest, list[tuple[str, str]]] = {}
        self.types: dict[Digest, str] = {}

    def note(self, descriptor: Descriptor, manifest: Manifest) -> None:
        """Take in one image. Attestations and artifacts of other kinds have nothing to unpack."""
        layers = manifest.layers
        config = self.config(manifest.config) if manifest.config.media_type in _CONFIGS else None
        if config is None or descriptor.attestation:
            return
        if not all(any(part in layer.media_type for part in _LAYERS) for layer in layers):
            return
        platform = descriptor.platform
        said = (config.get("os") or "", config.get("architecture") or "")
        if platform is not None and any(one and one != two for one, two in zip(said, _pair(descriptor), strict=True)):
            words = f"{descriptor.digest} is called {platform}, its config says {shown('/'.join(map(str, said)))}"
            self.problems.append(Problem("platform", words, False))
        rootfs = config.get("rootfs")
        ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(ids, list):
            words = f"the config of {descriptor.digest} does not say what its layers unpack to: engines cannot run it"
            self.problems.append(Problem("diff-id", words, False))
            return
        if len(ids) != len(layers):
            words = f"the config of {descriptor.digest} names {len(ids)} layers, its manifest {len(layers)}"
            self.problems.append(Problem("diff-id", words))
            return
        for layer, diff_id in zip(layers, ids, strict=True):
            if layer.media_type.endswith("+encrypted"):  # for whom it is meant, only
                words = f"layer {layer.digest} is encrypted: what it unpacks to was not compared"
                self.problems.append(Problem("diff-id", words, False))
                continue
            wanted = self.wanted.setdefault(layer.digest, [])
            wanted.append((str(descriptor.digest), diff_id if isinstance(diff_id, str) else ""))
            self.types[layer.digest] = layer.media_type

    def config(self, descriptor: Descriptor) -> Mapping[str, object] | None:
        """A config that is there and whole; all else is told elsewhere, but for what is no JSON."""
        data = descriptor.data
        if data is None:
            try:
                if self.source.has(descriptor.digest) and self.source.size(descriptor.digest) > MAX_DOCUMENT:
                    words = f"the config {descriptor.digest} is larger than {MAX_DOCUMENT >> 20} MiB: it was not read"
                    self.problems.append(Problem("config", f"{words}, nor compared with its layers", False))
                    return None
                data = self.source.read(descriptor.digest)
            except ArtifactError:
                return None
        try:
            return load_json(data, f"the config {descriptor.digest}")
        except ArtifactError as error:
            self.problems.append(Problem("invalid", error.message))
            return None

    def compare(self, digest: Digest, contents: Contents) -> Iterator[Problem]:
        """What is wrong with a layer that was read, and is what its own digest says."""
        if contents.problem:
            yield Problem("layer", f"layer {digest}: {contents.problem}")
            return
        media_type = self.types[digest]
        said = next((packing for ends, packing in _PACKINGS if media_type.endswith(ends)), contents.packing)
        if said != contents.packing:
            words = (
                f"layer {digest} is called {shown(media_type)}, its bytes are {contents.packing or 'not compressed'}"
            )
            yield Problem("media-type", words, False)
        for image, diff_id in dict.fromkeys(self.wanted[digest]):
            if contents.unpacked is not None and str(contents.unpacked) != diff_id:
                words = f"layer {digest} unpacks to {contents.unpacked}, the config of {image} says {shown(diff_id)}"
                yield Problem("diff-id", words)


def _pair(descriptor: Descriptor) -> tuple[str, str]:
    platform = descriptor.platform
    return (platform.os, platform.architecture) if platform is not None else ("", "")


def _read(source: ArtifactSource, digests: Iterable[Digest], layers: _Layers) -> Iterator[Problem]:
    """Every blob once, several at a time: memory is that of a few blocks, whatever their size."""

    def one(digest: Digest) -> list[Problem]:
        try:
            contents = read_contents(source, digest, unpack=digest in layers.wanted)
        except ArtifactError as error:
            return [Problem("invalid", error.message)]
        if contents.digest != digest:
            return [_tampered(digest, contents.digest)]
        return list(layers.compare(digest, contents)) if digest in layers.wanted else []

    with ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 1))) as pool:
        for problems in pool.map(one, digests):
            yield from problems


def _tampered(digest: Digest, actual: Digest) -> Problem:
    return Problem("digest", f"{digest} is not what it says: its bytes are {actual}")
