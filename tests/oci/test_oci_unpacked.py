"""Layers are read whatever they are compressed with; what is damaged is said to be."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import artifacts
import pytest
import zstandard

from buildopt.errors import ArtifactError
from buildopt.oci import layout as oci
from buildopt.oci.unpacked import unpacked


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = 200_000
        archive.addfile(info, io.BytesIO(hashlib.sha256(b"x").digest() * 6250))
    return out.getvalue()


def names(folder: Path, layer: bytes, media_type: str = artifacts.LAYER) -> list[str]:
    artifacts.finish(folder, [artifacts.put_image(folder, "linux/amd64", [layer])])
    source = oci.open_artifact(folder)
    (descriptor,) = oci.resolve(source).platforms[0].manifest.layers
    with unpacked(source, descriptor) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        return [member.name for member in archive]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


PACKED = {
    "plain": tar(),
    "gzip": gzip.compress(tar()),
    "gzip in two members": gzip.compress(tar()[:1000]) + gzip.compress(tar()[1000:]),
    "zstd": zstandard.compress(tar()),
    "zstd in two frames": zstandard.compress(tar()[:1000]) + zstandard.compress(tar()[1000:]),
}


@pytest.mark.parametrize("kind", PACKED)
def test_every_way_of_packing_is_read(kind: str, folder: Path) -> None:
    assert names(folder, PACKED[kind]) == ["file"]


@pytest.mark.parametrize("kind", PACKED)
def test_a_layer_that_is_cut_off_is_said_to_be(kind: str, folder: Path) -> None:
    layer = PACKED[kind]
    with pytest.raises(ArtifactError, match="cannot be read"):
        names(folder, layer[: len(layer) // 2])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_layer_with_other_bytes_is_said_to_be_damaged(kind: str, folder: Path) -> None:
    layer = bytearray(PACKED[kind])
    for place in range(20, 60):
        layer[place] ^= 0xFF
    with pytest.raises(ArtifactError, match="cannot be read"):
        names(folder, bytes(layer))
