"""Artifacts of single platforms, built on different machines, become one: an index of all, no registry needed.

Manifests and layers stay the bytes that they are; only the index is new. It is written as BuildKit writes one,
platforms in the order of their names, then their attestations: whatever the order of the inputs the digest is the same,
and the same as that of one build of these platforms in that order.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.build.artifact import LAYOUT_FILE, Names, Staging, needed, replace, writes
from buildopt.errors import ArtifactError, UsageError
from buildopt.oci import gate_record
from buildopt.oci import layout as oci
from buildopt.oci.check import check
from buildopt.oci.descriptor import (
    DOCKER_CONFIG,
    IMAGE_NAME,
    OCI_CONFIG,
    OCI_INDEX,
    REFERENCE_DIGEST,
    REFERENCE_NAME,
    Descriptor,
    Digest,
    Index,
    load_json,
    parse_document,
)
from buildopt.oci.gate_record import GateResult

# The order in which Go writes them.
_FIELDS = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
# Two names of one and the same platform.
_IMPLIED = {("arm64", "v8"): "", ("arm", ""): "v7", ("amd64", "v1"): ""}
Raw = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Entry:
    """A manifest and how an index tells of it. An attestation has no ``platform`` and is ``of`` another manifest."""

    digest: str
    raw: Raw
    platform: tuple[str, ...] = ()
    of: str = ""

    @property
    def shown(self) -> str:
        """The platform for people."""
        system, architecture, variant, *rest = self.platform
        return "/".join(filter(None, (system, architecture, variant))) + "".join(f" {part}" for part in rest if part)


@dataclass(frozen=True, slots=True)
class Part:
    """One artifact to merge: what it holds, and what it is called. ``orphans`` counts attestations of nothing in it."""

    path: Path
    source: oci.ArtifactSource
    image: oci.Image
    platforms: tuple[Entry, ...]
    attestations: tuple[Entry, ...]
    orphans: int
    names: frozenset[tuple[str, str]]
    annotations: Mapping[str, str] | None
    gates: gate_record.GateRecord | None


@dataclass(frozen=True, slots=True)
class Merge:
    """What will be written; ``names`` and ``gates`` as ``publish`` takes them. ``notes`` say what was left out."""

    index: bytes
    platforms: tuple[tuple[Entry, Part], ...]
    attestations: tuple[Entry, ...]
    blobs: Mapping[Digest, tuple[Descriptor, oci.ArtifactSource]]
    names: Names
    gates: tuple[GateResult, ...]
    notes: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        """The merged image's digest."""
        return Digest.of(self.index)


def read(path: Path, *, deep: bool = True) -> Part:
    """Open an artifact and read all of it; without ``deep`` no layers.

    Raises ArtifactError where anything is wrong with it, or nothing in it can be run.
    """
    source = oci.open_artifact(path)
    fatal = [problem for problem in check(source, deep=deep) if problem.fatal]
    if fatal:
        raise ArtifactError(
            f"{path} is damaged: {fatal[0].message}",
            hint="build it again; nothing was merged",
            detail=[problem.message for problem in fatal[1:10]],
        )
    image = oci.resolve(source)
    outer = parse_document(source.index_bytes, what="index.json")
    assert isinstance(outer, Index)
    entries = tuple(_entries(source, image))
    platforms = tuple(entry for entry in entries if not entry.of)
    if not platforms:
        raise ArtifactError(f"{path} holds nothing that can be run", hint="merge what buildopt build-once made")
    own = {entry.digest for entry in platforms}
    return Part(
        path,
        source,
        image,
        platforms,
        tuple(entry for entry in entries if entry.of in own),
        sum(1 for entry in entries if entry.of and entry.of not in own),
        frozenset(filter(any, (_name(entry) for entry in outer.manifests if entry.digest == image.digest))),
        image.document.annotations if isinstance(image.document, Index) else None,
        gate_record.of(source, image),
    )


def _name(entry: Descriptor) -> tuple[str, str]:
    return entry.annotations.get(IMAGE_NAME, ""), entry.annotations.get(REFERENCE_NAME, "")


def _entries(source: oci.ArtifactSource, image: oci.Image) -> Iterator[Entry]:
    """Every manifest of an image, as often as its indexes name it."""
    manifests = {entry.descriptor.digest: entry for entry in image.manifests}
    if not isinstance(image.document, Index):
        # Its own descriptor stands in index.json and says what the artifact is called, which the merged one is not.
        bare = {"mediaType": image.descriptor.media_type, "digest": str(image.digest), "size": image.descriptor.size}
        yield _entry(source, manifests[image.digest], bare)
        return
    for _, index in image.indexes:
        raw = load_json(index.data, "index")["manifests"]
        for descriptor, document in zip(index.manifests, raw if isinstance(raw, list) else (), strict=True):
            if descriptor.digest not in manifests:
                continue  # an index in the index: its entries come by themselves
            if descriptor.attestation:
                yield Entry(str(descriptor.digest), document, of=descriptor.annotations.get(REFERENCE_DIGEST) or "?")
            else:
                yield _entry(source, manifests[descriptor.digest], document)


def _entry(source: oci.ArtifactSource, image: oci.ImageManifest, raw: Raw) -> Entry:
    """An image that can be run; where its descriptor has no platform its configuration has."""
    digest = str(image.descriptor.digest)
    platform = raw.get("platform")
    if not isinstance(platform, dict):
        config = image.manifest.config
        if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
            raise ArtifactError(f"{digest} in {source.path} is no image of a platform", hint="merge images only")
        told = load_json(source.read(config.digest), str(config.digest))
        platform = {key: told[key] for key in _PLATFORM if told.get(key)}
    system, architecture, variant = (str(platform.get(key) or "") for key in ("os", "architecture", "variant"))
    if not system or not architecture:
        raise ArtifactError(f"{digest} in {source.path} does not say its platform", hint="build it with --platforms")
    features = platform.get("os.features")
    rest = (str(platform.get("os.version") or ""), ",".join(map(str, features)) if isinstance(features, list) else "")
    key = (system, architecture, _IMPLIED.get((architecture, variant), variant), *rest)
    return Entry(digest, {**raw, "platform": platform}, key)


def combine(parts: Sequence[Part], names: Sequence[str] = ()) -> Merge:
    """What the artifacts make together. ``names`` take the place of those that the artifacts have.

    Raises UsageError where two of them have different images of one platform, or different names.
    """
    notes: list[str] = []
    found: dict[tuple[str, ...], tuple[Entry, Part]] = {}
    # The same image in two artifacts is no conflict; which one it is taken from must not depend on the order.
    for part in sorted(parts, key=lambda part: str(part.image.digest)):
        for entry in part.platforms:
            other, where = found.setdefault(entry.platform, (entry, part))
            if other.digest != entry.digest:
                lines = [f"{shown.path}: {one.digest}" for one, shown in ((other, where), (entry, part))]
                raise UsageError(
                    f"two different images of {entry.shown} cannot be merged",
                    hint="leave out one of them",
                    detail=sorted(lines),
                )
    platforms = tuple(found[key] for key in sorted(found))
    attestations: dict[tuple[str, str], Entry] = {}
    for entry, _ in platforms:
        speaking = {one.digest: one for part in parts for one in part.attestations if one.of == entry.digest}
        attestations.update({(entry.digest, digest): speaking[digest] for digest in sorted(speaking)})
    indexes = [part.annotations for part in parts if part.annotations is not None]
    shared = {key: value for key, value in (indexes[0] if indexes else {}).items() if all(
        one.get(key) == value for one in indexes)}  # fmt: skip
    lost = sorted({key for one in indexes for key in one} - shared.keys())
    if lost:
        notes.append(f"annotations of the index that are not the same everywhere are left out: {', '.join(lost)}")
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    document["manifests"] = [
        _ordered(entry.raw) for entry in (*(entry for entry, _ in platforms), *attestations.values())
    ]
    if shared:
        document["annotations"] = dict(sorted(shared.items()))
    notes += [f"{part.orphans} attestations in {part.path} are left out: they speak of no image in it" for part in parts
              if part.orphans]  # fmt: skip
    gates, said = _gates(parts)
    return Merge(
        _written(document),
        platforms,
        tuple(attestations.values()),
        _blobs(parts),
        tuple(names) or _names(parts),
        gates,
        (*notes, *said),
    )


def _ordered(raw: Raw) -> Raw:
    """A descriptor with its fields in Go's order."""
    found = {key: raw[key] for key in (*_FIELDS, *sorted(raw)) if key in raw}
    for key, order in (("platform", _PLATFORM), ("annotations", ())):
        value = found.get(key)
        if isinstance(value, dict):
            found[key] = {name: value[name] for name in (*order, *sorted(value)) if name in value}
    return found


def _written(document: object) -> bytes:
    """JSON as Go writes it."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text.encode("utf-8", "surrogatepass")


def _names(parts: Sequence[Part]) -> Names:
    named = {part.names: part for part in parts if part.names}
    if len(named) > 1:
        lines = [
            gate_record.printable(f"{part.path}: {', '.join(sorted(first or second for first, second in names))}")
            for names, part in named.items()
        ]
        raise UsageError(
            "the artifacts have different names",
            hint="say what the merged one is called: -t NAME",
            detail=sorted(lines),
        )
    pairs = sorted(next(iter(named))) if named else []
    keys = (IMAGE_NAME, REFERENCE_NAME)
    return [{key: value for key, value in zip(keys, pair, strict=True) if value} for pair in pairs]


def _gates(parts: Sequence[Part]) -> tuple[tuple[GateResult, ...], tuple[str, ...]]:
    """The gates of all parts where each has passed its own, or where some did not: then the whole must not pass."""
    found: dict[tuple[str, str, str | None], GateResult] = {}
    for part in sorted(parts, key=lambda part: str(part.image.digest)):
        for gate in part.gates.gates if part.gates is not None else ():
            platform = gate.platform or ", ".join(entry.shown for entry in part.platforms)
            told = GateResult(gate.name, gate.kind, platform, gate.result, gate.reason, gate.seconds, gate.output)
            before = found.get(told.key)
            if before is None or before.result == gate_record.PASSED:
                found[told.key] = told
    bad = any(part.gates is not None and part.gates.bad for part in parts)
    passed = [part.gates is not None and part.gates.verdict == gate_record.PASSED for part in parts]
    if bad or all(passed):
        return tuple(found.values()), ()
    if not any(passed):
        return (), ()
    without = ", ".join(str(part.path) for part, well in zip(parts, passed, strict=True) if not well)
    return (), (f"the merged artifact counts as not gated: no gates have passed on {without}",)


def _blobs(parts: Sequence[Part]) -> Mapping[Digest, tuple[Descriptor, oci.ArtifactSource]]:
    found: dict[Digest, tuple[Descriptor, oci.ArtifactSource]] = {}
    for part in parts:
        indexes = {descriptor.digest for descriptor, _ in part.image.indexes}
        for digest, blob in needed(part.image).items():
            # A folder's blob can be linked, a tar's has to be copied.
            better = isinstance(part.source, oci.FolderSource) and digest in found
            if digest not in indexes and (digest not in found or better):
                found[digest] = (blob, part.source)
    return found


def write(merge: Merge, staging: Staging) -> None:
    """Write a merged layout into ``staging``, to be published. Raises ToolError where it cannot be written."""
    layout = staging.layout
    index = {"mediaType": OCI_INDEX, "digest": str(merge.digest), "size": len(merge.index)}
    outer = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [index]}
    with writes(staging.live):
        for digest, (blob, source) in merge.blobs.items():
            target = layout / "blobs" / digest.algorithm / digest.hex
            if digest in staging.linked or (blob.data is not None and not source.has(digest)):
                continue
            os.makedirs(target.parent, exist_ok=True)
            target.unlink(missing_ok=True)  # whatever lies there was not checked
            _copy(source, digest, target)
        target = layout / "blobs" / merge.digest.algorithm / merge.digest.hex
        os.makedirs(target.parent, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(merge.index)
        (layout / "oci-layout").write_bytes(LAYOUT_FILE)
        (layout / "index.json").write_text(json.dumps(outer))


def settle(merge: Merge, staging: Staging) -> None:
    """Write what the gates said of the parts beside the published layout, and of nothing that was there before."""
    if merge.gates:
        record = gate_record.GateRecord(str(merge.digest), merge.gates)
        with writes(staging.live):
            replace(staging.live / oci.GATES, record.data(), staging.folder / oci.GATES)


def _copy(source: oci.ArtifactSource, digest: Digest, target: Path) -> None:
    """A blob's bytes as a file of their own: a link, else copied by the kernel."""
    if isinstance(source, oci.FolderSource):
        path = source.path / "blobs" / digest.algorithm / digest.hex
        try:
            os.link(path, target, follow_symlinks=False)
        except OSError:
            shutil.copyfile(path, target, follow_symlinks=False)
        return
    with source.blob(digest) as blob, open(target, "wb", buffering=0) as out:
        while blob.tell() < blob.size:
            try:
                count = os.copy_file_range(
                    blob.fd, out.fileno(), blob.size - blob.tell(), offset_src=blob.offset + blob.tell()
                )
            except (OSError, AttributeError) as error:
                if getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
                    raise
                for block in blob.blocks():
                    out.write(block)
                return
            if not count:
                raise ArtifactError(f"{source.path} became shorter while it was read", hint="merge again")
            blob.seek(count, os.SEEK_CUR)
