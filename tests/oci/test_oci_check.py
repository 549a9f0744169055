"""Everything that is wrong with an artifact is found, at once."""

from __future__ import annotations

import json
from pathlib import Path

import artifacts
import pytest

from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact, resolve


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout")
    return tmp_path / "layout"


def kinds(path: Path) -> list[str]:
    return sorted(problem.kind for problem in check(open_artifact(path)))


def test_a_good_artifact_has_no_problem(layout: Path, tmp_path: Path) -> None:
    assert kinds(layout) == []
    assert kinds(artifacts.make_tar(layout, tmp_path / "image.tar")) == []


def test_every_problem_is_found_in_one_run(layout: Path) -> None:
    layers = resolve(open_artifact(layout)).platforms[0].manifest.layers
    first, second = (artifacts.blob_path(layout, str(layer.digest)) for layer in layers)
    first.unlink()
    data = second.read_bytes()
    second.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    artifacts.put(layout, b"left over", artifacts.LAYER)
    problems = {problem.kind: problem for problem in check(open_artifact(layout))}
    assert problems.keys() == {"missing", "digest", "unreferenced"}
    assert first.name in problems["missing"].message
    assert second.name in problems["digest"].message
    assert not problems["unreferenced"].fatal


def test_a_truncated_blob_has_the_wrong_size_and_digest(layout: Path) -> None:
    layer = resolve(open_artifact(layout)).platforms[0].manifest.layers[1]
    path = artifacts.blob_path(layout, str(layer.digest))
    path.write_bytes(path.read_bytes()[:-1])
    assert kinds(layout) == ["digest", "size"]


def test_without_deep_only_sizes_are_compared(layout: Path) -> None:
    layer = resolve(open_artifact(layout)).platforms[0].manifest.layers[1]
    path = artifacts.blob_path(layout, str(layer.digest))
    path.write_bytes(b"x" * layer.size)
    assert check(open_artifact(layout), deep=False) == ()


def test_a_broken_index_is_one_problem(layout: Path) -> None:
    (layout / "index.json").write_text("{")
    assert "invalid" in kinds(layout)


def test_two_images_are_ambiguous(layout: Path) -> None:
    index = json.loads((layout / "index.json").read_text())
    artifacts.finish(layout, [*index["manifests"], artifacts.put_image(layout, "linux/s390x", [b"z"])])
    assert kinds(layout) == ["ambiguous"]


def test_a_foreign_layer_may_be_absent(tmp_path: Path) -> None:
    layer = artifacts.put(tmp_path, b"far away", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    artifacts.blob_path(tmp_path, str(layer["digest"])).unlink()
    config = artifacts.put(tmp_path, b"{}", artifacts.CONFIG)
    layer["urls"] = ["http://127.0.0.1:1/never-fetched"]
    artifacts.finish(
        tmp_path, [artifacts.put_json(tmp_path, {"config": config, "layers": [layer]}, artifacts.MANIFEST)]
    )
    assert kinds(tmp_path) == ["foreign"]
    (problem,) = check(open_artifact(tmp_path))
    assert not problem.fatal and "http://127.0.0.1:1/never-fetched" in problem.message
