"""Synthetic layouts: small images written blob by blob, as BuildKit would leave them in a staging folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"

MakeImage = Callable[..., str]


def put(layout: Path, data: bytes) -> dict[str, object]:
    """Write a blob and return digest and size."""
    name = hashlib.sha256(data).hexdigest()
    path = layout / "blobs" / "sha256" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


def put_json(layout: Path, document: object) -> dict[str, object]:
    """Write a JSON blob."""
    return put(layout, json.dumps(document).encode())


def put_manifest(layout: Path, architecture: str, layers: list[bytes]) -> dict[str, object]:
    """Write an image of one platform and return its descriptor."""
    config = put_json(layout, {"architecture": architecture, "os": "linux", "layers": len(layers)})
    entries = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **put(layout, layer)} for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": entries,
    }
    platform = {"architecture": architecture, "os": "linux"}
    return {"mediaType": MANIFEST, **put_json(layout, manifest), "platform": platform}


def put_attestation(layout: Path, subject: object, statement: object) -> dict[str, object]:
    """Write a provenance and return its descriptor."""
    config = put_json(layout, {"architecture": "unknown", "os": "unknown", "statement": statement})
    layer = {
        "mediaType": "application/vnd.in-toto+json",
        **put_json(layout, statement),
        "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [layer],
    }
    return {
        "mediaType": MANIFEST,
        **put_json(layout, manifest),
        "annotations": {"vnd.docker.reference.digest": subject, "vnd.docker.reference.type": "attestation-manifest"},
        "platform": {"architecture": "unknown", "os": "unknown"},
    }


@pytest.fixture
def make_image() -> MakeImage:
    """Writes a two-platform image into a folder, index.json as BuildKit writes it, and returns its digest."""

    def make(layout: Path, *layers: bytes, statement: object = None) -> str:
        entries = [put_manifest(layout, name, [*layers, name.encode()]) for name in ("amd64", "arm64")]
        if statement is not None:
            entries += [put_attestation(layout, entry["digest"], statement) for entry in list(entries)]
        index = put_json(layout, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        outer = {"mediaType": INDEX, **index, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [outer]}))
        return str(index["digest"])

    return make
