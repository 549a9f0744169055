"""Whether two builds differ in nothing but when they ran.

BuildKit writes into each provenance when and as which invocation it ran, so an unchanged build gets a new digest every
time. Where that is the only difference the artifact keeps its digest, and with it the provenance of the build that made
these very layers.
"""

from __future__ import annotations

import json
import re

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import Descriptor, Index, Manifest
from buildopt.oci.layout import ArtifactSource, Image, ImageManifest

MAX_STATEMENT = 32 << 20
# Paths into an in-toto statement of what differs between two runs: SLSA 0.2, SLSA 1, SPDX.
_VOLATILE = (
    ("predicate", "metadata", "buildInvocationID"),
    ("predicate", "metadata", "buildStartedOn"),
    ("predicate", "metadata", "buildFinishedOn"),
    ("predicate", "runDetails", "metadata", "invocationId"),
    ("predicate", "runDetails", "metadata", "invocationID"),
    ("predicate", "runDetails", "metadata", "startedOn"),
    ("predicate", "runDetails", "metadata", "finishedOn"),
    ("predicate", "creationInfo", "created"),
    ("predicate", "documentNamespace"),
)

# buildx gives a layout folder that it passes to a build (--build-context NAME=oci-layout://…) another name each time.
_STORE = re.compile(rb"oci-layout://[a-z0-9]{25}(?=[:@])")


def same_but_times(old: tuple[ArtifactSource, Image], new: tuple[ArtifactSource, Image]) -> bool:
    """Whether two images are equal except for times and invocations in their attestations."""
    first, second = old[1].document, new[1].document
    if old[1].digest == new[1].digest:
        return True
    if isinstance(first, Manifest) or isinstance(second, Manifest):
        return False
    if _outline(first) != _outline(second) or len(old[1].indexes) != 1 or len(new[1].indexes) != 1:
        return False
    pairs = zip(old[1].attestations, new[1].attestations, strict=True)
    try:
        return all(_same_attestation(old[0], one, new[0], other) for one, other in pairs)
    except (ArtifactError, ValueError, RecursionError):
        return False


def _outline(index: Index) -> object:
    """An index without the digests of its attestations."""
    return [
        index.media_type,
        dict(index.annotations),
        [
            (entry.media_type, entry.platform, dict(entry.annotations), entry.artifact_type)
            + (() if entry.attestation else (entry.digest, entry.size))
            for entry in index.manifests
        ],
    ]


def _same_attestation(
    one_source: ArtifactSource, one: ImageManifest, other_source: ArtifactSource, other: ImageManifest
) -> bool:
    if dict(one.manifest.annotations) != dict(other.manifest.annotations):
        return False
    if one.manifest.subject != other.manifest.subject or len(one.manifest.layers) != len(other.manifest.layers):
        return False
    pairs = zip(one.manifest.layers, other.manifest.layers, strict=True)
    return all(_same_layer(one_source, first, other_source, second) for first, second in pairs)


def _same_layer(one_source: ArtifactSource, one: Descriptor, other_source: ArtifactSource, other: Descriptor) -> bool:
    if one.media_type != other.media_type or dict(one.annotations) != dict(other.annotations):
        return False
    return one.digest == other.digest or _statement(one_source, one) == _statement(other_source, other)


def _statement(source: ArtifactSource, layer: Descriptor) -> object:
    document = json.loads(_STORE.sub(b"oci-layout://", source.read(layer.digest, MAX_STATEMENT)))
    for path in _VOLATILE:
        *parents, last = path
        place = document
        for name in parents:
            place = place.get(name) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return _without_sessions(document)


def _without_sessions(value: object) -> object:
    """A part of a provenance of mode max without the session's marks. The steps themselves stand beside the mapping
    from their digests, which hold the session too."""
    if isinstance(value, list):
        return [_without_sessions(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_sessions(entry) for key, entry in value.items() if key not in ("oci.session", "oci.store")}
    mapping = kept.get("digestMapping")
    if isinstance(mapping, dict):
        kept["digestMapping"] = sorted(map(str, mapping.values()))
    return kept
