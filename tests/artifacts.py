"""Small artifacts for tests, written blob by blob: layout folders, and tars of them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

Json = dict[str, object]


def put(folder: Path, data: bytes, media_type: str) -> Json:
    """Write a blob; its descriptor."""
    name = hashlib.sha256(data).hexdigest()
    path = folder / "blobs" / "sha256" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def put_json(folder: Path, document: Json, media_type: str) -> Json:
    """Write a document, spaced in a way that no serialiser would choose again; its descriptor."""
    text = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}, indent=3)
    return put(folder, (text + "\n").encode(), media_type)


def put_image(folder: Path, platform: str, layers: Sequence[bytes], *, media_type: str = MANIFEST) -> Json:
    """Write an image manifest of one platform; its descriptor."""
    os, _, architecture = platform.partition("/")
    blobs = [put(folder, layer, LAYER) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [blob["digest"] for blob in blobs]}
    config = put(folder, json.dumps({"os": os, "architecture": architecture, "rootfs": rootfs}).encode(), CONFIG)
    descriptor = put_json(folder, {"config": config, "layers": blobs}, media_type)
    return {**descriptor, "platform": {"os": os, "architecture": architecture}}


def put_attestation(folder: Path, of: Json) -> Json:
    """Write an attestation as BuildKit does; its descriptor."""
    config = put(folder, b'{"architecture":"unknown","os":"unknown"}', CONFIG)
    statement = put(folder, json.dumps({"subject": of["digest"]}).encode(), "application/vnd.in-toto+json")
    statement["annotations"] = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
    annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of["digest"]}
    descriptor = put_json(folder, {"config": config, "layers": [statement]}, MANIFEST)
    platform = {"os": "unknown", "architecture": "unknown"}
    return {**descriptor, "annotations": annotations, "platform": platform}


def finish(folder: Path, descriptors: Sequence[Json]) -> None:
    """Write index.json and oci-layout."""
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(descriptors)}
    (folder / "index.json").write_text(json.dumps(document))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def make_layout(folder: Path, *, seed: bytes = b"", size: int = 5000, names: Sequence[str] = ("app:1",)) -> str:
    """A two-platform image with an attestation and a layer that both platforms share; the image's digest."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = hashlib.sha256(seed + b"shared").digest() * (size // 32 + 1)
    images = [
        put_image(folder, f"linux/{name}", [shared, (seed + name.encode()) * (size // 5)])
        for name in ("amd64", "arm64")
    ]
    manifests = [*images, *(put_attestation(folder, image) for image in images)]
    index = put_json(folder, {"manifests": manifests}, INDEX)
    finish(folder, [{**index, "annotations": {"org.opencontainers.image.ref.name": name}} for name in names])
    return str(index["digest"])


def make_tar(folder: Path, path: Path, *, format_: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar of a layout, with index.json and oci-layout after all blobs as BuildKit writes it."""
    with tarfile.open(path, "w", format=format_) as tar:
        for name in ("blobs", "blobs/sha256"):
            tar.add(folder / name, name, recursive=False)
        for blob in sorted((folder / "blobs" / "sha256").iterdir()):
            tar.add(blob, f"blobs/sha256/{blob.name}")
        for name in ("index.json", "oci-layout"):
            tar.add(folder / name, name)
    return path


def add_entry(path: Path, info: tarfile.TarInfo, data: bytes = b"") -> None:
    """Append an entry to a tar."""
    info.size = len(data)
    with tarfile.open(path, "a") as tar:
        tar.addfile(info, io.BytesIO(data))


def blob_path(folder: Path, digest: str) -> Path:
    """Where a blob of a layout lies."""
    return folder / "blobs" / digest.replace(":", "/")
