"""Everything that is wrong with an artifact, not only the first thing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import (
    DOCUMENT_TYPES,
    MAX_DEPTH,
    MAX_ENTRIES,
    Descriptor,
    Digest,
    Index,
    parse_document,
    shown,
)
from buildopt.oci.layout import ArtifactSource


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to know about an artifact. ``fatal``: it cannot be trusted or pushed; else only worth knowing."""

    kind: str
    message: str
    fatal: bool = True


def check(source: ArtifactSource, *, deep: bool = True) -> tuple[Problem, ...]:
    """Find all problems. ``deep`` reads every blob and compares its digest. Raises nothing but what opening raises."""
    walk = _Walk(source)
    walk.outer()
    problems = walk.problems
    present = [digest for digest in walk.expected if source.has(digest)]
    if deep:
        problems += _hashed(source, [digest for digest in present if digest not in walk.read])
    stale = source.digests() - walk.expected.keys()
    if stale:
        size = sum(source.size(digest) for digest in stale)
        names = ", ".join(str(digest) for digest in sorted(stale)[:3]) + (", …" if len(stale) > 3 else "")
        problems.append(
            Problem("unreferenced", f"{len(stale)} blobs ({size} bytes) belong to no image: {names}", False)
        )
    return tuple(dict.fromkeys(problems))


class _Walk:
    def __init__(self, source: ArtifactSource) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.expected: dict[Digest, int] = {}
        self.read: set[Digest] = set()
        self.inner: set[Digest] = set()

    def outer(self) -> None:
        try:
            index = parse_document(self.source.index_bytes, what="index.json")
        except ArtifactError as error:
            self.problems.append(Problem("invalid", error.message))
            return
        if not isinstance(index, Index):
            self.problems.append(Problem("invalid", "index.json is not an index"))
            return
        for entry in index.manifests:
            self.document(entry, 0)
        digests = {entry.digest for entry in index.manifests} - self.inner
        if len(digests) != 1:
            names = ", ".join(str(digest) for digest in sorted(digests)[:5])
            self.problems.append(Problem("ambiguous", f"it holds {len(digests)} images, not one: {names}".rstrip(": ")))

    def document(self, descriptor: Descriptor, depth: int) -> None:
        digest = descriptor.digest
        if digest in self.read:
            return
        self.read.add(digest)
        if not self.blob(descriptor):
            return
        if descriptor.media_type not in DOCUMENT_TYPES:
            self.problems.append(Problem("media-type", f"{digest} is called {shown(descriptor.media_type)}: no image"))
            return
        if depth > MAX_DEPTH or len(self.read) > MAX_ENTRIES:
            self.problems.append(Problem("invalid", f"{digest} lies too deep, or there are too many manifests"))
            return
        try:
            document = parse_document(self.source.read(digest), descriptor.media_type, what=str(digest))
        except ArtifactError as error:
            kind = "digest" if "not what it says" in error.message else "invalid"
            self.problems.append(Problem(kind, error.message))
            return
        if isinstance(document, Index):
            for child in document.manifests:
                self.inner.add(child.digest)
                self.document(child, depth + 1)
        else:
            for blob in document.blobs:
                self.blob(blob)

    def blob(self, descriptor: Descriptor) -> bool:
        """Note a blob and compare its size; whether it is there."""
        digest = descriptor.digest
        known = self.expected.setdefault(digest, descriptor.size)
        if known != descriptor.size:
            self.problems.append(Problem("size", f"{digest} is said to have {known} and {descriptor.size} bytes"))
        if not self.source.has(digest):
            if descriptor.data is None and not descriptor.foreign:
                self.problems.append(Problem("missing", f"{digest} is missing"))
            return False
        try:
            size = self.source.size(digest)
        except ArtifactError as error:
            self.problems.append(Problem("invalid", error.message))
            return False
        if size != descriptor.size:
            self.problems.append(Problem("size", f"{digest} has {size} bytes, its descriptor says {descriptor.size}"))
        return True


def _hashed(source: ArtifactSource, digests: Iterable[Digest]) -> Iterator[Problem]:
    def one(digest: Digest) -> Problem | None:
        hasher = hashlib.new(digest.algorithm)
        try:
            with source.blob(digest) as blob:
                for block in blob.blocks():
                    hasher.update(block)
        except ArtifactError as error:
            return Problem("invalid", error.message)
        if hasher.hexdigest() == digest.hex:
            return None
        return Problem("digest", f"{digest} is not what it says: its bytes are {digest.algorithm}:{hasher.hexdigest()}")

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from (problem for problem in pool.map(one, digests) if problem is not None)
