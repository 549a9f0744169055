"""``buildopt inspect``: attestations are listed with what they speak of."""

from __future__ import annotations

import json
from pathlib import Path

import artifacts
from click.testing import CliRunner

from buildopt import cli


def inspect(path: Path, *words: str) -> str:
    done = CliRunner().invoke(cli.buildopt, ["inspect", str(path), *words], catch_exceptions=False)
    return done.stdout


def statement(folder: Path, predicate: str) -> artifacts.Json:
    layer = artifacts.put(folder, json.dumps({"predicateType": predicate}).encode(), "application/vnd.in-toto+json")
    return {**layer, "annotations": {"in-toto.io/predicate-type": predicate}}


def test_provenance_and_bill_of_materials_of_each_platform(tmp_path: Path) -> None:
    images = [artifacts.put_image(tmp_path, f"linux/{name}", [name.encode()]) for name in ("amd64", "arm64")]
    config = artifacts.put(tmp_path, b"{}", artifacts.CONFIG)
    layers = [statement(tmp_path, kind) for kind in ("https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2")]
    # One manifest for two platforms, as BuildKit writes it where both statements are the same.
    attestation = artifacts.put_json(tmp_path, {"config": config, "layers": layers}, artifacts.MANIFEST)
    entries = [
        {
            **attestation,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            },
        }
        for image in images
    ]
    index = artifacts.put_json(tmp_path, {"manifests": [*images, *entries]}, artifacts.INDEX)
    artifacts.finish(tmp_path, [index])
    document = json.loads(inspect(tmp_path, "--format", "json"))
    assert [(one["platform"], one["of"]) for one in document["attestations"]] == [
        ("linux/amd64", images[0]["digest"]),
        ("linux/arm64", images[1]["digest"]),
    ]
    kinds = ["https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"]
    assert all(one["predicates"] == kinds for one in document["attestations"])
    text = inspect(tmp_path)
    assert f"  of  linux/arm64  {images[1]['digest']}\n  https://spdx.dev/Document  " in text


def test_an_attestation_of_nothing_says_so(tmp_path: Path) -> None:
    image = artifacts.put_image(tmp_path, "linux/amd64", [b"x"])
    stray = artifacts.put_attestation(tmp_path, {"digest": f"sha256:{'0' * 64}"})
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"manifests": [image, stray]}, artifacts.INDEX)])
    (found,) = json.loads(inspect(tmp_path, "--format", "json"))["attestations"]
    assert found["platform"] is None and found["of"] == f"sha256:{'0' * 64}"
    assert "  of  nothing here:  sha256:000" in inspect(tmp_path)
