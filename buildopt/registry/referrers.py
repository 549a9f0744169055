"""The referrers of a manifest, in registries that do not list them by themselves.

A manifest may have a ``subject``: another one that it speaks about, such as an attestation or a signature; it need not
be there (yet). A registry with the referrers API answers ``OCI-Subject`` when it takes such a manifest, and there is
nothing to do. For all others the distribution specification has the pusher keep a list, an index under the tag
``sha256-<hex of the subject>``: read, extended by one descriptor, written again. What is in it stays, field by field.

The list belongs to everybody who pushes something about that subject, and few registries compare before they write
(If-Match). So it is read back at once, and once more at the end of the push, and what another pusher overwrote is added
again. Two that overwrite each other later than that are not noticed.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import (
    INDEX_TYPES,
    MAX_DOCUMENT,
    OCI_INDEX,
    Descriptor,
    Digest,
    Manifest,
    load_json,
    parse_document,
)
from buildopt.registry.failure import MISSING_PARTS, RegistryError

SUBJECT_HEADER = "oci-subject"
ROUNDS = 6
"""How often a list is written until it is read back with what belongs in it."""
PAUSE_SECONDS = 0.05
"""About how long is waited, times the rounds so far, before a list that was overwritten twice is read again."""
GONE_HINT = "something that is listed there is gone from the registry: take it out, or delete the list, then push again"
IMMUTABLE_HINT = "let tags that begin with sha256- be overwritten there; or take a registry with the referrers API"


class Repositories(Protocol):
    """What is needed of a registry's client."""

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None: ...

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest with a subject: its exact bytes, whose list it belongs into, and as what."""

    subject: Digest
    digest: Digest
    data: bytes
    media_type: str
    entry: Mapping[str, object]

    @property
    def tag(self) -> str:
        """Where the list is: the algorithm and at most 64 characters of the subject's digest."""
        return f"{self.subject.algorithm}-{self.subject.hex[:64]}"


def referrer(descriptor: Descriptor, data: bytes) -> Referrer | None:
    """What a manifest's exact bytes say of its subject; None where it has none.

    Raises ArtifactError where they are no manifest.
    """
    if b'"subject"' not in data and b"\\u" not in data:  # most have none; a key may be written with escapes
        return None
    document = parse_document(data, descriptor.media_type, what=str(descriptor.digest))
    if document.subject is None:
        return None
    entry: dict[str, object] = {
        "mediaType": document.media_type,
        "digest": str(descriptor.digest),
        "size": len(data),
    }
    kind = load_json(data, str(descriptor.digest)).get("artifactType")
    if not kind and isinstance(document, Manifest):
        kind = document.config.media_type
    if kind:
        entry["artifactType"] = kind
    if document.annotations:
        entry["annotations"] = dict(document.annotations)
    return Referrer(document.subject.digest, descriptor.digest, data, document.media_type, entry)


@dataclass(slots=True)
class Referrers:
    """The lists that a push keeps in one repository; for any number of threads."""

    registry: Repositories
    repository: str
    _by_itself: bool = False
    _written: dict[str, dict[Digest, Referrer]] = field(default_factory=dict)
    _turns: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kept(self) -> bool:
        """Whether there are lists that this push is responsible for."""
        return bool(self._written)

    def stored(self, found: Referrer, headers: Mapping[str, str] | None) -> None:
        """A manifest is in the registry, which took it with ``headers`` (names in small letters): list it if need be.

        ``headers`` are None where it was there before: a push that was cut off may not have listed it.
        Raises RegistryError where that could not be done; the manifest itself is safe. It can be called again.
        """
        if headers is None and self._by_itself:
            return
        with _explained(found.tag):
            if headers is None:
                name = str(found.digest)
                headers = self.registry.put_manifest(self.repository, name, found.data, found.media_type)
            if SUBJECT_HEADER in headers:
                self._by_itself = True
                return
            with self._turn(found.tag):
                self._keep(found.tag, [found])
                with self._lock:
                    self._written.setdefault(found.tag, {})[found.digest] = found

    def settle(self) -> None:
        """At the end of a push: see once more that the lists which it wrote hold what belongs in them.

        Raises RegistryError like ``stored``.
        """
        with self._lock:
            written = {tag: list(found.values()) for tag, found in self._written.items()}
        for tag, found in written.items():
            with _explained(tag), self._turn(tag):
                self._keep(tag, found)

    def _turn(self, tag: str) -> threading.Lock:
        """One thread at a time writes a list."""
        with self._lock:
            return self._turns.setdefault(tag, threading.Lock())

    def _keep(self, tag: str, wanted: Iterable[Referrer]) -> None:
        for number in range(ROUNDS + 1):
            if number > 1:
                time.sleep(PAUSE_SECONDS * number * random.uniform(0.5, 1.5))
            held = self.registry.manifest(self.repository, tag)
            longer = extended(held, wanted)
            if longer is None:
                return
            if number < ROUNDS:
                self.registry.put_manifest(self.repository, tag, *longer)
        raise RegistryError(
            "refused", "what is added to it does not stay", hint="others may write it all the time; push again"
        )


@contextmanager
def _explained(tag: str) -> Iterator[None]:
    """Errors say that it is the list which failed, and what that means."""
    try:
        yield
    except RegistryError as error:
        hint = IMMUTABLE_HINT if error.kind == "immutable" else error.hint
        hint = GONE_HINT if error.code in MISSING_PARTS else hint
        message = f"the list of referrers {tag} was not kept, so that they are not found by it: {error.message}"
        raise error.retold(message, hint) from error


def extended(held: tuple[bytes, str] | None, wanted: Iterable[Referrer]) -> tuple[bytes, str] | None:
    """A list with what belongs in it, as bytes and media type; None where all of that is in it.

    ``held`` is the list as it is, None where there is none yet. Raises RegistryError where it is something else.
    """
    empty: Mapping[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    try:
        document = dict(load_json(held[0], "the list") if held is not None else empty)
        kind = document.get("mediaType") or (held[1] if held is not None else "") or OCI_INDEX
        entries = document["manifests"] if document["manifests"] is not None else []  # as Go writes an empty list
        if kind not in INDEX_TYPES or not isinstance(entries, list):
            raise _not_a_list()
        known = {entry.get("digest") for entry in entries if isinstance(entry, dict)}
        new = [dict(one.entry) for one in wanted if str(one.digest) not in known]
        if not new:
            return None
        document["manifests"] = [*entries, *new]
        data = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    except (ArtifactError, LookupError, ValueError, TypeError) as error:
        raise _not_a_list() from error
    if len(data) > MAX_DOCUMENT:
        raise RegistryError(
            "too-large",
            f"it would be larger than {MAX_DOCUMENT >> 20} MiB",
            hint="take referrers that nobody needs out of it",
        )
    return data, str(kind)


def _not_a_list() -> RegistryError:
    return RegistryError(
        "refused",
        "something else is under that tag",
        hint="the tag belongs to the referrers of that digest: delete what is under it, then push again",
    )
