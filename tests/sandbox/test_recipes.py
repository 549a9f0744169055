"""Which base images are made of what."""

from __future__ import annotations

import hashlib
import ssl
import struct
from pathlib import Path

import pytest

from buildopt.errors import UsageError
from buildopt.sandbox import base_images, java, layers
from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.recipes import NAMES, RECIPES, Recipe


def test_every_name_is_given_once() -> None:
    names = [name for recipe in RECIPES for name in recipe.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_layers_lie_on_what_they_are_made_for(recipe: Recipe) -> None:
    assert recipe.layers[0] == "debian"
    for index, name in enumerate(recipe.layers):
        assert layers.LAYERS[name].below == () or recipe.layers[1:index] == layers.LAYERS[name].below


def test_what_a_layer_is_made_of_tells_it_apart() -> None:
    prints = {name: layers.fingerprint(name) for name in layers.LAYERS}
    assert len(set(prints.values())) == len(prints)
    assert prints["rust"] != prints["rust-slim"]  # the same packages over others


def test_a_native_image_is_made_for_the_machines_platform() -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.name == "rust:1.63")
    assert recipe.platforms(("linux/amd64", "linux/arm64"), "arm64") == ("linux/arm64",)
    with pytest.raises(UsageError, match=r"rust:1\.63 is made for linux/amd64 alone"):
        recipe.platforms(("linux/arm64",), "amd64")
    small = next(recipe for recipe in RECIPES if recipe.name == "golang:1.19")
    assert small.platforms(("linux/arm64",), "amd64") == ("linux/arm64",)


def test_images_of_other_recipes_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "layers").mkdir()
    current = f"debian-{layers.fingerprint('debian')}-amd64.tar"
    for name in (current, "debian-00000000-amd64.tar"):
        (tmp_path / "layers" / name).touch()
    kept = f"{base_images._stem(RECIPES[0])}-amd64"
    for name in (kept, "debian-bookworm-slim-00000000-amd64", "gone-1.0-amd64"):
        (tmp_path / name).mkdir()
    base_images._forget_outdated(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept, "layers"])
    assert [path.name for path in (tmp_path / "layers").iterdir()] == [current]


def test_python_and_node_are_there_in_full_and_slim() -> None:
    assert {"python:3.11", "python:3.11-slim", "node:18", "node:18-slim"} <= set(NAMES)


def test_a_key_store_is_one_that_java_reads(tmp_path: Path) -> None:
    bundle = make_certificates(tmp_path / "made", ()).ca_file.read_text()
    data = java.key_store(bundle * 2)
    assert struct.unpack(">III", data[:12]) == (0xFEEDFEED, 2, 2)
    assert data.count(ssl.PEM_cert_to_DER_cert(bundle)) == 2
    salted = java.PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + data[:-20]
    assert data[-20:] == hashlib.sha1(salted, usedforsecurity=False).digest()
