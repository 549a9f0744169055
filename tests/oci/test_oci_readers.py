"""What other readers would take for something else, or not read at all.

A push says so before it sends a byte, a check lists it, and nothing is called a bug.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import artifacts
import pytest
from scripted import Scripted, scripted_registry

from buildopt import cli
from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, parse_document
from buildopt.oci.layout import open_artifact, resolve

Json = artifacts.Json


@pytest.fixture(scope="module")
def registry() -> Iterator[Scripted]:
    with scripted_registry() as scripted:
        yield scripted


def told(capsys: pytest.CaptureFixture[str], *words: object, code: int = 5) -> str:
    """What a command ends with."""
    assert cli.main([str(word) for word in words]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def refused(registry: Scripted, path: Path, capsys: pytest.CaptureFixture[str], reason: str) -> None:
    """A push, its preview and a check say why an artifact cannot be pushed, and the registry is sent nothing."""
    before = len(registry.seen)
    for words in ((), ("--dry-run",)):
        assert reason in told(capsys, "push", f"{registry.host}/acme/app:1", "--from-oci", path, *words)
    assert len(registry.seen) == before
    assert reason in told(capsys, "inspect", path, "--check")


def image(folder: Path, config: Json, layers: list[Json], **more: object) -> Json:
    return artifacts.put_json(folder, {"config": config, "layers": layers, **more}, artifacts.MANIFEST)


# --- Several descriptors of one digest: each reader goes by its own one


@pytest.mark.parametrize("wrong", ["first", "last", "other image", "config"])
def test_the_size_of_every_descriptor_of_a_blob_is_compared(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    layer = artifacts.put(tmp_path, b"layer", artifacts.LAYER)
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    more = {**layer, "size": 6}
    layers = {"first": [more, layer], "last": [layer, more], "other image": [more], "config": [layer]}[wrong]
    one = image(tmp_path, {**config, "size": 3} if wrong == "config" else config, layers)
    artifacts.finish(
        tmp_path,
        [artifacts.put_json(tmp_path, {"manifests": [one, image(tmp_path, config, [layer])]}, artifacts.INDEX)],
    )
    refused(registry, tmp_path, capsys, str(layer["digest"] if wrong != "config" else config["digest"]))


@pytest.mark.parametrize("where", ["index", "index.json"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": 7}, "bytes"),
        ({"mediaType": DOCKER_MANIFEST}, f"is called '{artifacts.MANIFEST}' and '{DOCKER_MANIFEST}'"),
        ({"mediaType": "application/foo"}, f"is called '{artifacts.MANIFEST}' and 'application/foo'"),
    ],
)
def test_every_descriptor_of_a_manifest_is_compared(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], where: str, change: Json, reason: str
) -> None:
    one = artifacts.put_image(tmp_path, "linux/amd64", [b"layer"])
    entries = [one, {**one, **change}]
    artifacts.finish(
        tmp_path,
        [artifacts.put_json(tmp_path, {"manifests": entries}, artifacts.INDEX)] if where == "index" else entries,
    )
    refused(registry, tmp_path, capsys, reason)


def test_a_blob_that_one_descriptor_says_is_elsewhere_must_be_there_for_the_other(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = artifacts.put(tmp_path, b"far", artifacts.LAYER)
    artifacts.blob_path(tmp_path, str(layer["digest"])).unlink()
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    artifacts.finish(tmp_path, [image(tmp_path, config, [layer, {**layer, "urls": ["https://far.example/"]}])])
    refused(registry, tmp_path, capsys, "is missing")


# --- Keys that readers in Go take in any case


def test_a_platform_with_a_key_in_another_case_is_refused(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """crane would pull arm64 from here for amd64."""
    one = artifacts.put_image(tmp_path, "linux/amd64", [b"layer"])
    one["platform"] = {"os": "linux", "architecture": "amd64", "Architecture": "arm64"}
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"manifests": [one]}, artifacts.INDEX)])
    refused(registry, tmp_path, capsys, "manifests[0]: platform has a key 'Architecture' that some readers take for ar")


@pytest.mark.parametrize("key", ["OS", "oſ", "Variant", "OS.version", "os.Features", "FEATURES"])
def test_every_key_of_a_platform_is_read_as_it_is_written(key: str) -> None:
    one = {"mediaType": artifacts.MANIFEST, "digest": f"sha256:{'a' * 64}", "size": 1}
    document = {"manifests": [{**one, "platform": {"os": "linux", "architecture": "amd64", key: "x"}}]}
    with pytest.raises(ArtifactError, match="some readers take for"):
        parse_document(json.dumps(document).encode(), OCI_INDEX)


# --- Keys of manifests of schema 1


@pytest.mark.parametrize("key", ["fsLayers", "history", "FSLayers"])
@pytest.mark.parametrize("kind", ["manifest", "index"])
def test_what_could_be_a_manifest_of_schema_1_too_is_refused(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], kind: str, key: str
) -> None:
    """skopeo rejects them as ambiguous."""
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    one = image(tmp_path, config, [], **({key: []} if kind == "manifest" else {}))
    if kind == "index":
        one = artifacts.put_json(tmp_path, {"manifests": [one], key: None}, artifacts.INDEX)
    artifacts.finish(tmp_path, [one])
    refused(registry, tmp_path, capsys, "some readers take for fsLayers" if key == "FSLayers" else f"has {key}, as")


# --- JSON that readers in Go do not read

STRANGE: dict[str, Callable[[str], bytes]] = {
    "NaN": lambda text: (text[:-1] + ',"x":NaN}').encode(),
    "Infinity": lambda text: (text[:-1] + ',"x":[Infinity]}').encode(),
    "-Infinity": lambda text: (text[:-1] + ',"x":{"y":-Infinity}}').encode(),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without mark": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32-le"),
    "a lone surrogate": lambda text: (text[:-1] + ',"x":"\ud800"}').encode("utf-8", "surrogatepass"),
}


@pytest.mark.parametrize("how", STRANGE)
@pytest.mark.parametrize("kind", ["manifest", "index"])
def test_documents_that_registries_cannot_read_are_refused(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], kind: str, how: str
) -> None:
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    media_type = artifacts.MANIFEST if kind == "manifest" else artifacts.INDEX
    inside: Json = {"config": config, "layers": []} if kind == "manifest" else {"manifests": []}
    text = json.dumps({"schemaVersion": 2, "mediaType": media_type, **inside})
    artifacts.finish(tmp_path, [artifacts.put(tmp_path, STRANGE[how](text), media_type)])
    refused(registry, tmp_path, capsys, "is not valid JSON")


@pytest.mark.parametrize("how", STRANGE)
@pytest.mark.parametrize("layer", [artifacts.LAYER, "application/vnd.in-toto+json"])
def test_a_config_that_engines_cannot_read_is_found_by_a_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layer: str, how: str
) -> None:
    blob = artifacts.put(tmp_path, b"layer", layer)
    text = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [blob["digest"]]}})
    config = artifacts.put(tmp_path, STRANGE[how](text), artifacts.CONFIG)
    artifacts.finish(tmp_path, [image(tmp_path, config, [blob])])
    assert f"the config {config['digest']} is not valid JSON" in told(capsys, "inspect", tmp_path, "--check")


# --- What registries ask of documents


@pytest.mark.parametrize("version", [None, 1, "2", 2.0, True, 3, []])
@pytest.mark.parametrize("kind", ["manifest", "index"])
def test_the_version_of_a_document_is_the_number_2(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], kind: str, version: object
) -> None:
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    one = image(tmp_path, config, [], **({"schemaVersion": version} if kind == "manifest" else {}))
    if kind == "index":
        one = artifacts.put_json(tmp_path, {"manifests": [one], "schemaVersion": version}, artifacts.INDEX)
    artifacts.finish(tmp_path, [one])
    refused(registry, tmp_path, capsys, "registries take only 2")


def test_a_document_without_version_is_refused_but_not_index_json(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts.make_layout(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({"manifests": index["manifests"]}))
    assert "sha256:" in told(capsys, "inspect", tmp_path, "--check", code=0)
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    text = json.dumps({"config": config, "layers": []})
    artifacts.finish(tmp_path, [artifacts.put(tmp_path, text.encode(), artifacts.MANIFEST)])
    refused(registry, tmp_path, capsys, "has schemaVersion None")


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, DOCKER_LIST])
def test_documents_of_docker_say_what_they_are(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], media_type: str
) -> None:
    config = artifacts.put(tmp_path, b"{}", "application/vnd.acme.config")
    inside: Json = {"manifests": []} if media_type == DOCKER_LIST else {"config": config, "layers": []}
    text = json.dumps({"schemaVersion": 2, **inside})
    artifacts.finish(tmp_path, [artifacts.put(tmp_path, text.encode(), media_type)])
    refused(registry, tmp_path, capsys, "does not say itself that it is")


@pytest.mark.parametrize(
    ("key", "value"), [("os.version", 5), ("os.features", "x"), ("os.features", [1]), ("features", "x")]
)
def test_all_of_a_platform_has_its_types(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], key: str, value: object
) -> None:
    one = artifacts.put_image(tmp_path, "windows/amd64", [b"layer"])
    platform: Json = {"os": "windows", "architecture": "amd64", "os.version": "10.0.1", "os.features": ["a"]}
    artifacts.finish(
        tmp_path,
        [artifacts.put_json(tmp_path, {"manifests": [{**one, "platform": platform}]}, artifacts.INDEX)],
    )
    assert "problem" not in told(capsys, "inspect", tmp_path, "--check", code=0)
    wrong = {**one, "platform": {**platform, key: value}}
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"manifests": [wrong]}, artifacts.INDEX)])
    refused(registry, tmp_path, capsys, f"a platform whose {key} is not")


# --- Paths that cannot be read are no bug


def refused_path(path: Path, capsys: pytest.CaptureFixture[str], *reasons: str) -> None:
    for words in (["inspect", path], ["inspect", "--check", path], ["push", "127.0.0.1:1/a:1", "--from-oci", path]):
        err = told(capsys, *words)
        assert all(reason in err for reason in (*reasons, "hint: ")), err


def test_a_name_that_no_file_can_have_is_an_error_of_the_artifact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused_path(tmp_path / ("a" * 300), capsys, "File name too long")


@pytest.mark.parametrize("place", [".", "blobs", "blobs/sha256", "index.json"])
def test_links_in_a_circle_are_an_error_of_the_artifact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    layout = tmp_path / "layout"
    artifacts.make_layout(layout)
    path = layout / place
    os.rename(path, tmp_path / "moved")
    path.symlink_to(path.name)
    refused_path(layout, capsys, "symbolic links" if place == "." else f"{path} is a link or not a plain file")


@pytest.fixture
def as_another(
    tmp_path: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A layout, read by somebody who is not root."""
    for name in ("HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    layout = tmp_path / "layout"
    artifacts.make_layout(layout)
    if os.geteuid() != 0:
        yield layout
        return
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:  # a worker's lie one deeper
        if folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o711)
    told(capsys, "push", f"{registry.host}/acme/root:1", "--from-oci", layout, code=0)  # what is imported late
    told(capsys, "inspect", layout, "--check", code=0)
    for path in (layout, *layout.rglob("*")):
        os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield layout
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("place", "mode", "named"),
    [
        (".", 0o000, "blobs"),
        ("blobs", 0o000, "blobs"),
        ("blobs", 0o444, "blobs"),
        ("blobs", 0o111, "blobs"),
        ("blobs/sha256", 0o000, "blobs/sha256"),
        ("blobs/sha256", 0o444, "blobs/sha256"),
    ],
)
def test_folders_that_cannot_be_read_are_named(
    as_another: Path, capsys: pytest.CaptureFixture[str], place: str, mode: int, named: str
) -> None:
    (as_another / place).chmod(mode)
    try:
        refused_path(as_another, capsys, f"{as_another / named} cannot be read: Permission denied")
    finally:
        (as_another / place).chmod(0o755)


def test_a_folder_that_cannot_be_listed_is_enough_for_a_push(
    as_another: Path, registry: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = as_another / "blobs" / "sha256"
    folder.chmod(0o111)
    try:
        assert f"{folder} cannot be read" in told(capsys, "inspect", "--check", as_another)
        told(capsys, "push", f"{registry.host}/acme/listed:1", "--from-oci", as_another, code=0)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_blob_that_cannot_be_read_is_told_before_a_push(
    as_another: Path, registry: Scripted, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    before = len(registry.seen)
    blob = artifacts.blob_path(as_another, str(resolve(open_artifact(as_another)).blobs[-1].digest))
    blob.chmod(0)
    err = told(capsys, "push", f"{registry.host}/acme/app:1", "--from-oci", as_another, *words)
    assert f"{blob} cannot be read: Permission denied" in err and "hint: " in err
    assert len(registry.seen) == before


# --- What a check does not compare


@pytest.mark.parametrize("large", [True, False])
def test_a_config_that_was_not_compared_with_its_layers_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], large: bool
) -> None:
    layer = artifacts.put(tmp_path, b"layer", artifacts.LAYER)
    rootfs = {"diff_ids": [f"sha256:{'0' * 64}"]} if large else {"diff_ids": [layer["digest"]]}
    document = {"os": "linux", "architecture": "amd64", "rootfs": rootfs, "x": "x" * (5_000_000 if large else 5)}
    config = artifacts.put(tmp_path, json.dumps(document).encode(), artifacts.CONFIG)
    artifacts.finish(tmp_path, [image(tmp_path, config, [layer])])
    out = told(capsys, "inspect", tmp_path, "--check", code=0)
    assert (f"note: the config {config['digest']} is larger than 4 MiB: it was not read" in out) is large
    assert ("every layer what its config says" in out) is not large


def test_an_exact_name_is_meant_before_the_end_of_one(tmp_path: Path) -> None:
    descriptors = [artifacts.put_image(tmp_path, "linux/amd64", [layer]) for layer in (b"1", b"2")]
    for descriptor, name in zip(descriptors, ("app:1", "other/app:1"), strict=True):
        descriptor["annotations"] = {"io.containerd.image.name": name}
    artifacts.finish(tmp_path, descriptors)
    source = open_artifact(tmp_path)
    assert str(resolve(source, "app:1").digest) == descriptors[0]["digest"]
    assert str(resolve(source, "other/app:1").digest) == descriptors[1]["digest"]


def test_a_pipe_is_to_be_saved_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("-")):
        with pytest.raises(ArtifactError) as caught:
            open_artifact(path)
        assert "save it to a file first" in caught.value.hint
