"""Images of a few files for the tests of gates: layers, history and settings as they are given."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import artifacts

from buildopt.gates.image import PlatformImage, platform_images
from buildopt.oci.layout import ArtifactSource, open_artifact, resolve

Files = Mapping[str, bytes | str | None]
"""Files of a layer: bytes; None for what is removed; text for where a symbolic link leads."""


def layer(files: Files, *, packed: bool = True) -> bytes:
    """A layer's tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            if content is None:
                folder, _, name = path.rpartition("/")
                info = tarfile.TarInfo(f"{folder}/.wh.{name}" if folder else f".wh.{name}")
                tar.addfile(info)
            elif isinstance(content, str):
                info = tarfile.TarInfo(path)
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1, mtime=0) if packed else buffer.getvalue()


def make(
    folder: Path,
    *layers: bytes,
    settings: Mapping[str, object] | None = None,
    steps: Sequence[str] = (),
    predicates: Sequence[str] = (),
    statement: Mapping[str, object] | None = None,
    platform: tuple[str, str] = ("linux", "amd64"),
) -> tuple[ArtifactSource, PlatformImage]:
    """An artifact with one image; ``steps`` are its history, a ``#`` before those that made no layer."""
    system, architecture = platform
    history = [{"created_by": step.lstrip("#"), "empty_layer": step.startswith("#")} for step in steps]
    config = {"os": system, "architecture": architecture, "config": dict(settings or {}), "history": history}
    descriptor = artifacts.put_json(
        folder,
        {
            "config": artifacts.put(folder, json.dumps(config).encode(), artifacts.CONFIG),
            "layers": [artifacts.put(folder, data, artifacts.LAYER) for data in layers],
        },
        artifacts.MANIFEST,
    )
    entry = {**descriptor, "platform": {"os": system, "architecture": architecture}}
    entries = [entry, *(_attestation(folder, entry, name, statement or {}) for name in predicates)]
    artifacts.finish(folder, [artifacts.put_json(folder, {"manifests": entries}, artifacts.INDEX)])
    source = open_artifact(folder)
    (image,) = platform_images(source, resolve(source))
    return source, image


def _attestation(folder: Path, of: artifacts.Json, predicate: str, statement: Mapping[str, object]) -> artifacts.Json:
    made = artifacts.put_attestation(folder, of)
    config = artifacts.put(folder, b'{"architecture":"unknown","os":"unknown"}', artifacts.CONFIG)
    body = artifacts.put(folder, json.dumps({"type": predicate, **statement}).encode(), "application/vnd.in-toto+json")
    body["annotations"] = {"in-toto.io/predicate-type": predicate}
    manifest = artifacts.put_json(folder, {"config": config, "layers": [body]}, artifacts.MANIFEST)
    return {**made, **manifest}
