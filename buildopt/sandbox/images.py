"""Image layers and OCI layouts written by Python: no engine is needed to make a base image."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# No file of an image is younger, so that making it again gives the same bytes. Files of packages keep their time.
EPOCH = 1_735_689_600  # 2025-01-01
BLOCK = 1 << 20
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file whose sha256 digest (``sha256:…``) and size in bytes are known."""

    file: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of how it is run."""

    environment: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    folder: str = ""


class _Hashing:
    """A file that is hashed as it is written."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self.out.write(data)


def write_layer(root: Path, names: Iterable[str], target: Path) -> Blob:
    """Write files of a tree (relative names) as an image layer: an uncompressed tar, sorted, without names of owners.

    It is not compressed because that would cost more time, here and at each pull over loopback, than it saves.
    """
    with open(target, "wb") as out:
        hashing = _Hashing(out)
        with tarfile.open(
            fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK, copybufsize=BLOCK
        ) as tar:  # type: ignore[call-overload]
            for name in sorted(names):
                _add(tar, root, name)
    return Blob(target, f"sha256:{hashing.hash.hexdigest()}", hashing.size)


def _add(tar: tarfile.TarFile, root: Path, name: str) -> None:
    path = root / name
    entry = tar.gettarinfo(path, name)
    if entry is None or stat.S_ISSOCK(path.lstat().st_mode):
        return
    entry.uname = entry.gname = ""
    entry.mtime = min(int(entry.mtime), EPOCH)
    if entry.isreg():
        with open(path, "rb") as content:
            tar.addfile(entry, content)
    else:
        tar.addfile(entry)


def write_layout(
    folder: Path,
    tag: str,
    platforms: Mapping[str, Sequence[Blob]],
    config: ImageConfig,
) -> None:
    """Write an OCI layout of one image, with an index of ``platforms`` (``linux/arm64``) and their layers.

    Layers are linked, not copied: they must lie on the same file system. ``folder`` must not exist.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for platform, layers in platforms.items():
        for layer in layers:
            link(layer.file, blobs / layer.digest.partition(":")[2])
        system, _, architecture = platform.partition("/")
        image = {
            "architecture": architecture,
            "os": system,
            "created": "2025-01-01T00:00:00Z",
            "config": _run_config(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": "2025-01-01T00:00:00Z", "created_by": "buildopt sandbox"} for _ in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _put(blobs, CONFIG, image),
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
        described = {"architecture": architecture, "os": system}
        if architecture == "arm64":
            described["variant"] = "v8"
        manifests.append({**_put(blobs, MANIFEST, manifest), "platform": described})
    index = _put(blobs, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
    named = {**index, "annotations": {"org.opencontainers.image.ref.name": tag}}
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    outer = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
    (folder / "index.json").write_text(json.dumps(outer), encoding="utf-8")


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``; a symbolic link where they lie on different file systems."""
    if os.path.lexists(target):
        return
    try:
        os.link(source, target)
    except OSError:
        os.symlink(source.resolve(), target)


def _run_config(config: ImageConfig) -> dict[str, object]:
    found: dict[str, object] = {"Env": [f"{name}={value}" for name, value in config.environment]}
    found["Cmd"] = list(config.command)
    if config.entrypoint:
        found["Entrypoint"] = list(config.entrypoint)
    if config.folder:
        found["WorkingDir"] = config.folder
    return found


def _put(blobs: Path, media_type: str, document: Mapping[str, object]) -> dict[str, object]:
    data = json.dumps(document, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
