"""Descriptors, manifests and indexes of the OCI image specification, read from bytes that stay as they are.

What is read comes from outside: sizes, counts and depth are capped, digests follow the strict grammar of their
algorithm, and a document that claims to be a manifest and an index at once is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from buildopt.errors import ArtifactError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
DOCUMENT_TYPES = INDEX_TYPES | MANIFEST_TYPES

REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
REFERENCE_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"

MAX_DOCUMENT = 4 * 1024 * 1024
"""Largest manifest or index in bytes; registries take no more."""
MAX_ENTRIES = 2000
"""Most descriptors in one document."""
MAX_DEPTH = 4
"""How deep indexes may lie inside indexes."""
MAX_TOTAL = 64 * 1024 * 1024
"""Most bytes of all manifests and indexes of one image."""
MAX_SIZE = 1 << 50

HEX_DIGITS = {"sha256": 64, "sha512": 128}
"""Length of a digest by its algorithm."""
_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]+)")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content digest of the strict grammar: ``sha256:`` and 64, or ``sha512:`` and 128 small hex digits."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read a digest. Raises ArtifactError for anything but the strict grammar."""
        match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match is None or len(match[2]) != HEX_DIGITS[match[1]]:
            raise ArtifactError(
                f"not a digest: {shown(text)}", hint="a digest is sha256: and 64, or sha512: and 128 small hex digits"
            )
        return cls(match[1], match[2])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of some bytes."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """Twelve hex digits, for people."""
        return self.hex[:12]


EMPTY = b"{}"
EMPTY_DIGEST = Digest.of(EMPTY)
"""What a manifest without a config of its own points to."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and architecture, as ``linux/arm64/v8``."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def unknown(self) -> bool:
        """Whether this is what attestations carry."""
        return self.os == "unknown" and self.architecture == "unknown"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is, which it is, and how many bytes it has."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    data: bytes | None = field(default=None, repr=False)
    """The content itself where the descriptor carries it; checked against digest and size."""

    @property
    def foreign(self) -> bool:
        """A layer that its owner does not let registries distribute; its bytes may be absent."""
        return bool(self.urls) or ".nondistributable." in self.media_type or ".foreign." in self.media_type

    @property
    def attestation(self) -> bool:
        """Whether this is a manifest that speaks about another one, as BuildKit writes them."""
        return bool(self.annotations.get(REFERENCE_TYPE)) or (self.platform is not None and self.platform.unknown)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest; ``data`` are its exact bytes."""

    data: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers."""
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """An image index; ``data`` are its exact bytes."""

    data: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def shown(value: object, limit: int = 100) -> str:
    """A value from outside as a short, printable quote."""
    text = ascii(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def load_json(data: bytes, what: str) -> Mapping[str, object]:
    """Parse a JSON object of bounded size and depth. ``what`` names it in errors. Raises ArtifactError.

    Registries and engines, most of them in Go, must read it too: it is UTF-8 without a byte order mark, without NaN.
    """
    if len(data) > MAX_DOCUMENT:
        raise ArtifactError(f"{what} is larger than {MAX_DOCUMENT >> 20} MiB", hint=_REBUILD)
    try:
        text = data.decode()
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except RecursionError as error:
        raise ArtifactError(f"{what} is nested too deeply", hint=_REBUILD) from error
    except ValueError as error:
        raise ArtifactError(f"{what} is not valid JSON: {error}", hint=_REBUILD) from error
    if not isinstance(document, dict):
        raise ArtifactError(f"{what} is not a JSON object", hint=_REBUILD)
    return document


def parse_document(data: bytes, media_type: str = "", *, what: str = "manifest") -> Manifest | Index:
    """Read a manifest or an index.

    ``media_type`` is what its descriptor says; an embedded one must be equal to it. Without it, as for index.json, the
    document is none that is sent, and need not have what registries ask for. Raises ArtifactError.
    """
    document = load_json(data, what)
    found = _document(document, data, media_type, what)
    if media_type:
        _sendable(document, media_type, what)
    return found


def _document(document: Mapping[str, object], data: bytes, media_type: str, what: str) -> Manifest | Index:
    _plain_keys(document, what)
    embedded = _text(document, "mediaType", what)
    if embedded and media_type and embedded != media_type:
        raise ArtifactError(
            f"{what} says it is {shown(embedded)}, its descriptor says {shown(media_type)}", hint=_REBUILD
        )
    if "manifests" in document and ("layers" in document or "config" in document):
        raise ArtifactError(f"{what} claims to be a manifest and an index at once", hint="do not trust this artifact")
    for key in _SCHEMA_1:
        if key in document:
            raise ArtifactError(f"{what} has {key}, as manifests of schema 1 do", hint="do not trust this artifact")
    kind = media_type or embedded
    if "manifests" in document:
        if kind and kind not in INDEX_TYPES:
            raise ArtifactError(f"{what} is an index but called {shown(kind)}", hint=_REBUILD)
        return Index(
            data,
            kind or OCI_INDEX,
            _descriptors(document, "manifests", what),
            _optional(document, "subject", what),
            _annotations(document, what),
        )
    if kind and kind not in MANIFEST_TYPES:
        raise ArtifactError(f"{what} has no manifests but is called {shown(kind)}", hint=_REBUILD)
    if "layers" not in document or "config" not in document:
        raise ArtifactError(f"{what} is neither an image manifest nor an index", hint=_REBUILD)
    return Manifest(
        data,
        kind or OCI_MANIFEST,
        parse_descriptor(document["config"], f"{what}: config"),
        _descriptors(document, "layers", what),
        _optional(document, "subject", what),
        _text(document, "artifactType", what),
        _annotations(document, what),
    )


def _sendable(document: Mapping[str, object], media_type: str, what: str) -> None:
    """Refuse what registries refuse, once they have got everything else."""
    version = document.get("schemaVersion")
    if isinstance(version, bool) or not isinstance(version, int) or version != 2:
        raise ArtifactError(f"{what} has schemaVersion {shown(version)}, registries take only 2", hint=_REBUILD)
    if not document.get("mediaType") and media_type in (DOCKER_MANIFEST, DOCKER_LIST):
        raise ArtifactError(f"{what} does not say itself that it is {shown(media_type)}", hint=_REBUILD)


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Read a descriptor. Raises ArtifactError."""
    if not isinstance(value, dict):
        raise ArtifactError(f"{what} is not a descriptor", hint=_REBUILD)
    _plain_keys(value, what)
    size = value.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        raise ArtifactError(f"{what} has no valid size: {shown(size)}", hint=_REBUILD)
    media_type = value.get("mediaType")
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        raise ArtifactError(f"{what} has no valid media type: {shown(media_type)}", hint=_REBUILD)
    urls = value.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ArtifactError(f"{what} has urls that are not a list of texts", hint=_REBUILD)
    digest = Digest.parse(value.get("digest"))
    return Descriptor(
        media_type,
        digest,
        size,
        _platform(value.get("platform"), what),
        _annotations(value, what),
        tuple(urls),
        _text(value, "artifactType", what),
        _inline(value.get("data"), digest, size, what),
    )


_REBUILD = "build the artifact again: buildopt build-once"
_SCHEMA_1 = ("fsLayers", "history")
"""Keys of the first manifests of Docker: beside others, some readers (containerd, podman, skopeo) refuse the whole."""
_KEYS = {
    key.casefold(): key
    for key in (
        *_SCHEMA_1,
        *("mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"),
        *("digest", "size", "urls", "data", "platform"),
    )
}


_PLATFORM_KEYS = {key: key for key in ("os", "architecture", "variant", "os.version", "os.features", "features")}


def _plain_keys(document: Mapping[str, object], what: str, keys: Mapping[str, str] = _KEYS) -> None:
    """Refuse ``Layers`` beside ``manifests``: some readers, those in Go, take any case, and so see something else."""
    for key in document:
        known = keys.get(key.casefold(), key)
        if known != key:
            raise ArtifactError(
                f"{what} has a key {shown(key)} that some readers take for {known}", hint="do not trust this artifact"
            )


def _platform(value: object, what: str) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ArtifactError(f"{what} has a platform that is not an object", hint=_REBUILD)
    _plain_keys(value, f"{what}: platform", _PLATFORM_KEYS)
    parts = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) and re.fullmatch(r"[A-Za-z0-9_.-]*", part) for part in parts):
        raise ArtifactError(f"{what} has a platform that cannot be read: {shown(parts)}", hint=_REBUILD)
    if not isinstance(value.get("os.version"), str | None):
        raise ArtifactError(f"{what} has a platform whose os.version is not text", hint=_REBUILD)
    for key in ("os.features", "features"):
        entries = value.get(key)
        if entries is not None and not (isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)):
            raise ArtifactError(f"{what} has a platform whose {key} is not a list of texts", hint=_REBUILD)
    return Platform(*parts)


def _inline(value: object, digest: Digest, size: int, what: str) -> bytes | None:
    """The content that a descriptor carries; the empty one is known without being carried."""
    if value is None:
        return EMPTY if digest == EMPTY_DIGEST and size == len(EMPTY) else None
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if len(data) != size or Digest.of(data, digest.algorithm) != digest:
        raise ArtifactError(f"{what} carries data that is not {digest}", hint="do not trust this artifact")
    return data


def _text(document: Mapping[str, object], key: str, what: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ArtifactError(f"{what}: {key} is not text", hint=_REBUILD)
    return value


def _annotations(document: Mapping[str, object], what: str) -> Mapping[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise ArtifactError(f"{what} has annotations that are not texts", hint=_REBUILD)
    return value


def _descriptors(document: Mapping[str, object], key: str, what: str) -> tuple[Descriptor, ...]:
    values = document[key]
    if values is None:  # Go writes an empty list this way
        return ()
    if not isinstance(values, list):
        raise ArtifactError(f"{what}: {key} is not a list", hint=_REBUILD)
    if len(values) > MAX_ENTRIES:
        raise ArtifactError(f"{what}: {key} has more than {MAX_ENTRIES} entries", hint=_REBUILD)
    return tuple(parse_descriptor(value, f"{what}: {key}[{number}]") for number, value in enumerate(values))


def _optional(document: Mapping[str, object], key: str, what: str) -> Descriptor | None:
    value = document.get(key)
    return None if value is None else parse_descriptor(value, f"{what}: {key}")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no value of JSON")


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        # Two readers may each take another one of them: a way to smuggle content past a check.
        raise ValueError("a key stands twice in one object")
    return document
